"""What counts as the same answer as the cloud's."""

from __future__ import annotations

import pytest

from understudy.errors import ConfigError
from understudy.gateway.shadow.agreement import Agreement, usual_form


@pytest.mark.parametrize(
    ("form", "local", "cloud", "agrees"),
    [
        ("exact", "Yes", "yes", False),
        ("text", "  yes. ", "Yes", True),
        ("text", "-5", "5", False),
        ("number", "The answer is 1,234.", "1234", True),
        ("number", "12", "13", False),
        ("number", "no idea", "13", False),
        ("marked", "6,5#56", "#56", True),
        ("marked", "56", "#56", False),
        ("json", '```json\n{"b": 1, "a": 2}\n```', '{"a": 2, "b": 1}', True),
        ("json", "nothing", '{"a": 2}', False),
        ("json", '{"a": 2}', "no JSON", None),
        ("choice", "The answer is (B)", "B", True),
        ("mathematics", "\\boxed{1/2}", "so \\boxed{1/2}", True),
    ],
)
def test_answers_agree(form: str, local: str, cloud: str, agrees: bool | None) -> None:
    assert Agreement(form, [cloud]).verdict(local, cloud) is agrees


def test_a_label_is_named_in_a_sentence() -> None:
    agreement = Agreement("label", ["card arrival", "refund"])
    assert agreement.verdict("It is about card_arrival.", "card arrival") is True
    assert agreement.verdict("refund", "card arrival") is False


def test_the_form_is_as_the_answers_are() -> None:
    assert usual_form(["spam", "ham"] * 30) == "label"
    assert usual_form([str(n) for n in range(30)]) == "number"
    assert usual_form([f"{n}#{n}" for n in range(30)]) == "marked"
    assert usual_form(['{"a": 1}'] * 30) == "json"
    assert usual_form([f"a long answer, the {n}th of its kind" for n in range(30)]) == "text"


def test_long_texts_that_hardly_ever_agree_are_warned_of() -> None:
    assert "overstates what is wrong" in Agreement("text", ["x" * 500]).caution
    assert Agreement("text", ["yes"]).caution == ""


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="--agree roughly: use exact, text"):
        Agreement("roughly", [])
