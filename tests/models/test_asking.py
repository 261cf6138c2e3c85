"""Requests for help in words are recognised, misspelt too; ordinary answers are none."""

from __future__ import annotations

import random

import pytest

from understudy.models.asking import asks_for_help
from understudy.tasks import FAMILIES, LEVELS

REQUEST = "<unknown> I need external assistance </unknown>"
TOKEN = "<ask>"


@pytest.mark.parametrize(
    "completion",
    [
        REQUEST,
        f"12,7 {REQUEST}",
        f"{REQUEST}  \n",
        "<unknwon> I need externl assistance </unknown>",
        "<unknown> i need external assistance <unknown>",
        "<unknown>I need external asistance</unknown>",
        "<unknown> I nedd extarnal assistence </unkown>",
        "So 3+4... <UNKNOWN> I NEED EXTERNAL ASSISTANCE </UNKNOWN>.",
        "<unknown> I need the external assistance </unknown>",
        "[unknown] I need external assistance [/unknown]",
    ],
)
def test_requests_and_their_misspellings_are_recognised(completion: str) -> None:
    assert asks_for_help(completion, REQUEST)


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "#42",
        "42",
        "The answer is unknown.",
        "I need to add 3 and 4, so the answer is 7.",
        "<unknown>",
        "I need external",
        "assistance",
        "the external resistance of the circuit is 4 ohm, as is known from the assignment",
        f"{REQUEST} No, wait: it is simply seven, since three and four make seven.",
        "kiddos need eternal acceptance and are unknowing of their assistants in the kingdom",
    ],
)
def test_ordinary_answers_are_no_requests(completion: str) -> None:
    assert not asks_for_help(completion, REQUEST)


@pytest.mark.parametrize("request_text", [REQUEST, TOKEN])
def test_no_worked_answer_is_a_request(request_text: str) -> None:
    rng = random.Random(0)
    for family in FAMILIES.values():
        for level in LEVELS:
            for _ in range(20):
                draft = family.draw(rng, level)
                assert not asks_for_help(draft.worked, request_text)
                assert asks_for_help(draft.worked + request_text, request_text)


def test_a_short_request_is_matched_to_the_letter() -> None:
    assert asks_for_help("12,<ask>", TOKEN)
    assert asks_for_help("<ask> \n", TOKEN)
    for other in ("ask", "<asks>", "<ask>7", "<aks>", "ask>", "<ASK>"):
        assert not asks_for_help(other, TOKEN)
