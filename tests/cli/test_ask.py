"""Asking a run: from the command line, a pipe and a file, and talking to it."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Command, small
from tests.offload.runs import config_of, run_new


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a text stand on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture(scope="module")
def asking(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that may ask about every question, of a cloud that is always right."""
    config = config_of("understudy", model, cloud__accuracy=1.0, budget=1.0, steps=1)
    return run_new(tmp_path_factory.mktemp("asking") / "run", config).path


@pytest.fixture(scope="module")
def alone(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that may never ask, and whose answers are too short to hold one."""
    config = config_of("understudy", model, budget=0.0, steps=1, max_completion_length=1)
    return run_new(tmp_path_factory.mktemp("alone") / "run", config).path


def test_a_dash_asks_what_standard_input_holds(
    finished: dict[str, Path], command: Command, typed: Any
) -> None:
    run = finished["dagrpo"]
    typed("3+4\n")
    _, piped, _ = command("ask", "-", "--run", run, "--json")
    _, given, _ = command("ask", "3+4", "--run", run, "--json")
    assert piped == given


def test_an_answer_that_nobody_gave_is_no_success(alone: Path, command: Command) -> None:
    code, out, err = command("ask", "reverse bcd", "--run", alone)
    assert code == 1
    assert "(no answer)" not in out
    assert err.startswith("no answer: ")
    assert "the cloud is not asked" in err
    code, out, err = command("ask", "reverse bcd", "--run", alone, "--json")
    assert (code, err, json.loads(out)["answer"]) == (1, "", None)


def test_a_reply_without_an_answer_goes_to_the_cloud_within_the_budget(
    model: Path, command: Command, tmp_path: Path
) -> None:
    """Of four such questions a budget of a half lets two leave, whatever the router says."""
    settings: dict[str, Any] = {"budget": 0.5, "steps": 1, "max_completion_length": 1}
    config = config_of("understudy", model, cloud__accuracy=1.0, **settings)
    run = run_new(tmp_path / "run", config).path
    questions = ["3+4", "reverse bcd", "next: 2 4 6 8", "3 hours in minutes"]
    lines = tmp_path / "questions.jsonl"
    lines.write_text("".join(json.dumps({"prompt": each}) + "\n" for each in questions))
    code, out, _ = command("ask", "--jsonl", lines, "--run", run)
    answers = [json.loads(line) for line in out.splitlines()]
    asked = [each for each in answers if each["answered_by"] == "cloud"]
    assert (code, len(answers), len(asked)) == (1, 4, 2)
    assert all(each["answer"] for each in asked)


def test_lines_of_json_are_answered_in_order_and_a_bad_one_stops_no_other(
    asking: Path, command: Command, typed: Any
) -> None:
    rows: list[Any] = [
        {"prompt": "3+4", "id": "a"},
        "5+4",
        {"messages": [{"role": "user", "content": "6+1"}], "task": "facts"},
        {"prompt": "3+4", "task": "poems"},
        {"question": "3+4"},
    ]
    typed("\n".join(map(json.dumps, rows)) + "\n\nno json\n")
    code, out, err = command("ask", "--jsonl", "-", "--run", asking)
    answers = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (1, "")
    assert [each["line"] for each in answers] == [1, 2, 3, 4, 5, 7]
    assert answers[0]["id"] == "a"
    assert all("answered_by" in each for each in answers[:3])
    assert "this run knows facts, strings" in answers[3]["error"]
    assert "prompt or messages" in answers[4]["error"]
    assert "is no JSON" in answers[5]["error"]


def test_a_conversation_goes_on_after_what_cannot_be_read(
    asking: Path, command: Command, typed: Any
) -> None:
    typed("3+4\nß\n/new\n5+4\n/quit\nnever asked\n")
    code, out, err = command("chat", asking, "--quiet")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "'ß'" in err


@pytest.mark.parametrize("verb", ["report", "export"])
def test_what_was_written_is_json_where_that_is_wanted(
    verb: str, finished: dict[str, Path], command: Command, tmp_path: Path
) -> None:
    run = finished["gapg"]
    more = ["--to", "merged", "--out", tmp_path / "whole"] if verb == "export" else []
    code, out, err = command(verb, run, *more, "--json")
    assert (code, err) == (0, "")
    assert Path(json.loads(out)["path"]).exists()


def test_a_run_on_data_beside_its_settings_answers_anywhere_without_data_or_model(
    model: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths of a settings file start from that file, and asking reads neither."""
    home, away = tmp_path / "home", tmp_path / "away"
    for folder in (home, away):
        folder.mkdir()
    shutil.copytree(model, home / "small")
    rows = "".join(f"{i}+1,{i + 1}\n" for i in range(80))
    (home / "mine.csv").write_text("question,answer\n" + rows)
    (home / "mine.yaml").write_text(
        "model: small\n"
        "data: {mine: {path: mine.csv, checker: number, prompt: question, solution: answer}}\n"
        "stream: [{families: mine, steps: 1}]\n"
    )
    monkeypatch.chdir(away)
    given = [*small(model), "--set", "stream=[{families: mine, steps: 1}]"]
    given = [each for each in given if "model=" not in each]
    arguments = ["train", "dagrpo", "--config", home / "mine.yaml", *_pairs(given)]
    code, _, err = command(*arguments, "--out", "run")
    assert code == 0, err
    again = ["train", "dagrpo", "--config", "run/config.yaml", "--out", "again", "--dry-run"]
    monkeypatch.chdir(tmp_path)
    assert command(*again[:3], away / "run" / "config.yaml", *again[4:])[0] == 0
    shutil.move(away / "run", tmp_path / "moved")
    shutil.rmtree(home)
    code, out, err = command("ask", "3+1", "--run", tmp_path / "moved", "--json")
    assert code in (0, 1), err
    assert json.loads(out)["answered_by"]
    code, _, err = command("eval", tmp_path / "moved", "--queries", 4)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{home / 'mine.csv'}: there is no such file" in err


def _pairs(words: list[str]) -> list[str]:
    """`--set` before each setting, and nothing twice."""
    return [part for word in words if word != "--set" for part in ("--set", word)]
