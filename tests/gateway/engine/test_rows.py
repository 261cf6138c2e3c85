"""One request's row: what is sent of the tokens that it takes, and what is known in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models.small import write_tokenizer
from understudy.gateway.engine import Job, Piece, Written
from understudy.gateway.engine.draws import Drawn
from understudy.gateway.engine.rows import Prepared, Row
from understudy.gateway.engine.tools import ToolForm
from understudy.gateway.engine.vocabulary import Vocabulary
from understudy.models.policy import IN_WORDS
from understudy.models.tokens import REQUEST, Tokens

FORM = ToolForm("<tool_call>\n", "\n</tool_call>", "arguments", ("add",))
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder: Path = tmp_path_factory.mktemp("rows")
    write_tokenizer(folder)
    return Vocabulary(Tokens(folder))


def taken(
    vocabulary: Vocabulary, text: str, end: bool = True, **given: Any
) -> tuple[list[Piece], Written]:
    """What a row sends that takes a text's tokens, and its end."""
    named = {name: given.pop(name) for name in ("logprobs", "more") if name in given}
    job = Job("1", (), "a@1", prompt="x", stop=("\n", "Tom"), **named)
    ids = vocabulary.tokens.encode(text)
    prepared = Prepared(job, (5, 6), vocabulary, **({"most": 500} | given))
    sent: list[Any] = []
    row = Row(prepared, sent.append)
    for place, token in enumerate([*ids, *([vocabulary.tokens.end] if end else [])]):
        row.take(Drawn(token, -0.5, margin=float(place % 4), entropy=0.25))
        if row.finish_reason:
            break
    row.end()
    return sent[:-1], sent[-1]


def test_an_answer_is_sent_token_by_token_and_summed_up(vocabulary: Vocabulary) -> None:
    pieces, written = taken(vocabulary, "3 + 4 = 7 pens")
    assert "".join(piece.text for piece in pieces) == written.text == "3 + 4 = 7 pens"
    assert [piece.margin for piece in pieces][:4] == [0.0, 1.0, 2.0, 3.0]
    assert (written.finish_reason, written.prompt_tokens) == ("stop", 2)
    assert written.completion_tokens == len(vocabulary.tokens.encode(written.text)) + 1
    assert (written.mean_entropy, written.mean_logprob, written.margin) == (0.25, -0.5, 3.0)


def test_it_ends_at_a_stop_string_or_its_length(vocabulary: Vocabulary) -> None:
    _, written = taken(vocabulary, "7 pens\nTom", stop=("\n",))
    assert (written.text, written.finish_reason, written.stop) == ("7 pens", "stop", "\n")
    _, written = taken(vocabulary, "7 pens###", stop=("\n", "###"))
    assert (written.text, written.stop) == ("7 pens", "")  # which is its task's, not its caller's
    pieces, written = taken(vocabulary, "aaaaaaaa", most=3)
    assert (written.text, written.finish_reason, written.completion_tokens) == ("aaa", "length", 3)
    assert len(pieces) == 3


def test_a_call_is_no_text(vocabulary: Vocabulary) -> None:
    pieces, written = taken(vocabulary, f"See: {CALL}", tools=FORM)
    assert "".join(piece.text for piece in pieces) == written.text == "See: "
    assert written.finish_reason == "tool_calls"
    assert written.tool_calls[0]["function"] == {"name": "add", "arguments": '{"a": 1}'}


def test_calls_are_one_where_only_one_is_wanted(vocabulary: Vocabulary) -> None:
    for more, count in (({}, 2), ({"parallel_tool_calls": False}, 1)):
        _, written = taken(vocabulary, f"{CALL}\n{CALL}", tools=FORM, more=more)
        assert len(written.tool_calls) == count


def test_what_only_looks_like_a_call_is_text(vocabulary: Vocabulary) -> None:
    text = CALL.replace("add", "no such tool")
    pieces, written = taken(vocabulary, text, tools=FORM)
    assert "".join(piece.text for piece in pieces) == written.text == text
    assert (written.finish_reason, written.tool_calls) == ("stop", ())


def test_every_token_shown_has_its_log_probability(vocabulary: Vocabulary) -> None:
    pieces, _ = taken(vocabulary, "é🙂 fox", logprobs=0)
    known = [each for piece in pieces for each in piece.logprobs]
    assert b"".join(each.utf8 for each in known).decode() == "é🙂 fox"
    assert {each.logprob for each in known} == {-0.5}


def test_a_request_in_words_leads_beyond_all_others(vocabulary: Vocabulary) -> None:
    assert taken(vocabulary, f"so {REQUEST}")[1].margin == IN_WORDS + 3.0
    assert taken(vocabulary, f"{REQUEST} so it is 7 pens, I think, and no more")[1].margin == 3.0
