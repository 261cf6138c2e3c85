"""Logs of every form are read, and what says nothing is left out with its reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.shadow import logged
from tests.gateway.shadow.logged import asked, completion
from understudy.errors import ConfigError
from understudy.gateway.shadow.logs import read_logs

FORMS: dict[str, Any] = {
    "stored completion": logged.stored("1+1", "2"),
    "standard payload": logged.standard_payload("1+1", "2"),
    "standard logging object": {"standard_logging_object": logged.standard_payload("1+1", "2")},
    "spend log": logged.spend_log("1+1", "2"),
    "own event": logged.event("1+1", "2"),
    "request and response": {
        "request": {"model": "gpt-x", "messages": asked("1+1")},
        "response": completion("2"),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_question_answer_and_tokens(form: str, tmp_path: Path) -> None:
    (call,) = read_logs([str(logged.write(tmp_path / "log.jsonl", [FORMS[form]]))]).calls
    assert (call.question, call.answer, call.model) == ("1+1", "2", "gpt-x")
    assert (call.prompt_tokens, call.completion_tokens) == (10, 4)


def test_a_conversation_for_fine_tuning_ends_with_its_answer(tmp_path: Path) -> None:
    turns = [*asked("1+1"), {"role": "assistant", "content": "2"}]
    (call,) = read_logs([str(logged.write(tmp_path / "log.jsonl", [{"messages": turns}]))]).calls
    assert (call.question, call.answer) == ("1+1", "2")
    assert call.prompt_tokens is None


def test_what_litellm_knows_is_kept_and_secrets_are_not(tmp_path: Path) -> None:
    payload = logged.standard_payload("1+1", "2", cache_hit=True)
    path = logged.write(tmp_path / "log.jsonl", [payload])
    (call,) = read_logs([str(path)]).calls
    assert (call.dollars, call.free, call.route) == (0.002, True, "chat")
    assert call.metadata == {"feature": "help", "tag": "prod"}
    assert call.body["temperature"] == 0.5


def test_a_batch_is_joined_from_two_files_in_any_order(tmp_path: Path) -> None:
    pairs = [logged.batch(f"{n}+1", str(n + 1), f"q-{n}") for n in range(3)]
    answers = logged.write(tmp_path / "a.jsonl", [answer for _, answer in reversed(pairs)])
    questions = logged.write(tmp_path / "b.jsonl", [question for question, _ in pairs])
    log = read_logs([str(answers), str(questions)])
    assert [(call.question, call.answer) for call in log.calls] == [
        ("0+1", "1"),
        ("1+1", "2"),
        ("2+1", "3"),
    ]
    assert log.rows == 3
    assert log.left_out.total == 0


def test_zipped_files_arrays_pages_and_folders_are_read(tmp_path: Path) -> None:
    rows = [logged.stored(f"{n}+1", "2", f"c-{n}") for n in range(4)]
    with gzip.open(tmp_path / "one.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(rows[0]) + "\n")
    (tmp_path / "two.json").write_text(json.dumps([rows[1]], indent=1), encoding="utf-8")
    logged.write(tmp_path / "three.jsonl", [{"object": "list", "data": rows[2:]}])
    assert len(read_logs([str(tmp_path)]).calls) == 4


HOSTILE: list[tuple[Any, str]] = [
    ("{not json", "are no JSON"),
    (7, "are no JSON object"),
    ({"hello": 1}, "have no question"),
    (completion("2"), "have an answer but no question"),
    (completion("2") | {"messages": []}, "have no question"),
    (completion("2") | {"messages": [{"content": "1+1"}]}, "have a turn without a role"),
    ({"messages": asked("1+1"), "choices": []}, "have no answer"),
    ({"messages": asked("1+1")}, "have no answer"),
    (logged.stored("1+1", ""), "have an empty answer"),
    (logged.stored("x" * 1_000_001, "2"), "have a question of over 1,000,000 characters"),
    (logged.standard_payload("1+1", "2", status="failure"), "are calls that failed"),
    (logged.standard_payload("1+1", "2", call_type="embedding"), "are no chat completions"),
    (
        logged.standard_payload("1+1", "redacted-by-litellm"),
        "were logged without their text (it is redacted)",
    ),
    (
        logged.spend_log("1+1", "2") | {"proxy_server_request": "{}"},
        "were logged without their text (store_prompts_in_spend_logs)",
    ),
    (
        logged.event("1+1", "2", answered_by="local"),
        "were answered by a local model, not by a cloud",
    ),
    (
        {"request": {"messages": asked("1+1")}, "response": {"error": {"message": "no"}}},
        "are calls that failed",
    ),
    (logged.batch("1+1", "2", "lonely")[0], "have no answer"),
    (logged.batch("1+1", "2", "orphan")[1], "have an answer but no question"),
]


@pytest.mark.parametrize(("row", "reason"), HOSTILE)
def test_a_row_that_says_nothing_is_left_out_with_its_reason(
    row: Any, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    bad = row if isinstance(row, str) else json.dumps(row)
    good = json.dumps(logged.stored("2+2", "4", "good"))
    path.write_text(f"{good}\n{bad}\n", encoding="utf-8")
    log = read_logs([str(path)])
    assert [call.answer for call in log.calls] == ["4"]
    assert log.left_out.lines() == [f"1 {reason} (first: log.jsonl:2)"]


def test_a_row_that_was_logged_twice_counts_once_and_a_question_asked_twice_does_not(
    tmp_path: Path,
) -> None:
    rows = [logged.stored("1+1", "2", id) for id in ("a", "a", "b")]
    log = read_logs([str(logged.write(tmp_path / "log.jsonl", rows))])
    assert [call.id for call in log.calls] == ["a", "b"]
    assert log.calls[0].digest == log.calls[1].digest
    assert log.left_out.lines() == ["1 were logged twice (first: log.jsonl:2)"]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"tool_calls": [{"id": "t", "function": {"name": "f"}}]}, "calls a tool"),
        ({"refusal": "I cannot"}, "is a refusal"),
    ],
)
def test_an_answer_that_is_no_text_is_kept_for_its_money(
    message: dict[str, Any], why: str, tmp_path: Path
) -> None:
    path = logged.write(tmp_path / "l.jsonl", [completion(None, **message) | {"input": asked("q")}])
    (call,) = read_logs([str(path)]).calls
    assert call.not_text == why


def test_an_image_and_a_text_beside_it_are_read_without_falling(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {}}]
    turns = [{"role": "user", "content": parts}]
    path = logged.write(tmp_path / "l.jsonl", [completion("a cat") | {"messages": turns}])
    (call,) = read_logs([str(path)]).calls
    assert call.question == "what is it?"


def test_a_log_without_anything_usable_says_why(tmp_path: Path) -> None:
    path = logged.write(tmp_path / "log.jsonl", [{"messages": asked("1+1")}])
    with pytest.raises(ConfigError, match=r"none of 1 rows can be used: 1 have no answer"):
        read_logs([str(path)])
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        read_logs([str(tmp_path / "missing.jsonl")])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ConfigError, match="there are no rows"):
        read_logs([str(tmp_path / "empty.jsonl")])
