"""A judge over a real socket: its error is measured first, and a useless one is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.shadow.endpoint import Answer, endpoint
from tests.gateway.shadow.logged import call, completion
from understudy.errors import CloudError, ConfigError
from understudy.gateway.shadow.judge import (
    ByJudge,
    Compared,
    JudgeEndpoint,
    read_labelled,
    sheet,
)

LABELLED = [Compared(f"q{n}", "yes", "yes" if n % 2 else "no", bool(n % 2)) for n in range(40)]


def says(word: Any) -> Answer:
    """word: of the prompt's parts."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["messages"][0]["content"]
        names = ("question", "reference", "candidate")
        parts = [re.search(rf"<{name}>\n(.*?)\n</{name}>", prompt, re.S) for name in names]
        return completion(word(*(part[1] for part in parts if part)))

    return answer


def judge(url: str, labelled: list[Compared] = LABELLED) -> ByJudge:
    return ByJudge(JudgeEndpoint.of(url, "judge", None), labelled)


def test_its_error_is_measured_stated_and_known_to_the_report() -> None:
    """It is taken in by every fifth wrong answer."""

    def word(question: str, reference: str, candidate: str) -> str:
        fooled = question in ("q0", "q10", "q20", "q30")
        return "Right." if reference == candidate or fooled else "That is wrong"

    with endpoint(says(word)) as url:
        found = judge(url)
        calls = [call(f"q{n}", "yes") for n in (1, 2)]
        verdicts = found.of(calls, ["yes", "no"])
    assert found.error is not None
    assert (found.error.found, found.error.wrong, found.error.specificity) == (16, 20, 1.0)
    assert "it found 16 of 20 wrong ones and passed 20 of 20 right ones" in found.words
    assert [each.local_wrong for each in verdicts if each] == [False, True]


def test_a_judge_no_better_than_a_coin_is_refused() -> None:
    with (
        endpoint(says(lambda *parts: "right")) as url,
        pytest.raises(ConfigError, match="hardly better than a coin"),
    ):
        judge(url)


def test_a_judge_that_says_neither_is_refused() -> None:
    with (
        endpoint(says(lambda *parts: "well")) as url,
        pytest.raises(CloudError, match="neither right nor wrong of 40 of 40"),
    ):
        judge(url)


def test_too_few_labels_and_a_dead_address_are_refused() -> None:
    with pytest.raises(ConfigError, match="has 2 right and 3 wrong answers"):
        judge("http://127.0.0.1:9/v1", LABELLED[:5])
    with pytest.raises(CloudError, match="gave no answer"):
        judge("http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="--judge-model is missing"):
        JudgeEndpoint.of("http://127.0.0.1:9/v1", "", None)


def test_a_sheet_is_filled_in_and_read_back(tmp_path: Path) -> None:
    rows = sheet([call("1+1", "2"), call("2+2", "4")], ["2", "5"])
    path = tmp_path / "labels.jsonl"
    rows[1]["right"] = False
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert read_labelled(path) == [Compared("2+2", "4", "5", False)]
    path.write_text('{"right": true}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"labels.jsonl:1: needs question, reference"):
        read_labelled(path)


def test_a_judge_remembers_what_it_said(tmp_path: Path) -> None:
    asked: list[str] = []

    def word(question: str, reference: str, candidate: str) -> str:
        asked.append(question)
        return "right" if reference == candidate else "wrong"

    with endpoint(says(word)) as url:
        found, calls = judge(url), [call("new", "yes")]
        assert found.of(calls, ["yes"]) == found.of(calls, ["yes"])
    assert asked.count("new") == 1
