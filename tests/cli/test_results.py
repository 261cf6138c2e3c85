"""The verbs that read a run: what they print, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Command
from tests.offload.runs import Silent, StoppedError, config_of, run_new
from understudy.recipes import RECIPES
from understudy.run import RunDirectory

VERBS_OF_A_RUN = [
    ["train", "dagrpo", "--resume", "--out"],
    ["report"],
    ["compare"],
    ["eval"],
    ["export", "--to", "merged"],
    ["ask", "3+4", "--run"],
]


@pytest.mark.parametrize("arguments", VERBS_OF_A_RUN, ids=lambda words: words[0])
def test_settings_that_were_cut_short_are_refused(
    arguments: list[str], finished: dict[str, Path], refused: Any, tmp_path: Path
) -> None:
    run = RunDirectory.open(Path(shutil.copytree(finished["dagrpo"], tmp_path / "run")))
    lines = run.config.read_text().splitlines(keepends=True)
    # At the end of a line it is valid YAML still. A report needs few settings, a model all.
    shown = arguments[0] in ("report", "compare")
    for kept in (0, 1, 2) if shown else (0, 1, 2, len(lines) - 1):
        run.config.write_text("".join(lines[:kept]))
        assert "config.yaml" in refused(*arguments, run.path)


@pytest.mark.parametrize("verb", ["eval", "compare", "report", "ask"])
def test_what_is_no_run_is_refused(verb: str, model: Path, refused: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.yaml").write_text("nonsense: 1\n")
    for path in (tmp_path, tmp_path / "no", tmp_path / "file", tmp_path / "odd", model, "x" * 300):
        refused(*(("ask", "3+4", "--run", path) if verb == "ask" else (verb, path)))


@pytest.mark.parametrize("verb", ["eval", "compare", "report", "ask"])
def test_an_unfinished_run_has_nothing_to_show(
    verb: str, model: Path, refused: Any, tmp_path: Path
) -> None:
    config = config_of("dagrpo", model, steps=1)
    RunDirectory.create(tmp_path / "run", config.model_dump(mode="json"))
    path = tmp_path / "run"
    refused(*(("ask", "3+4", "--run", path) if verb == "ask" else (verb, path)))


@pytest.mark.parametrize("verb", ["compare", "report"])
def test_a_run_in_its_middle_has_no_figures_yet(
    verb: str, model: Path, refused: Any, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config_of("dagrpo", model, steps=1), Silent(stop_at=3))
    assert "--resume" in refused(verb, tmp_path / "run")


QUESTIONS = [
    "3+4",
    "12*3",
    "tom has 3 pens, gets 4. how many?",
    "reverse bcd",
    "3 1 2>1 2 3; 5 4 9>4 5 9",
    "3 hours in minutes",
    "next: 2 4 6 8",
    "What is the meaning of it all?",
]


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_question_of_any_kind_gets_an_answer_or_the_reason_why_not(
    name: str, finished: dict[str, Path], command: Command
) -> None:
    for question in QUESTIONS:
        code, out, err = command("ask", question, "--run", finished[name], "--json")
        answer = json.loads(out, parse_constant=pytest.fail)
        assert (code, err) == (answer["answer"] is None, "")
        assert answer["answered_by"] in ("local", "cloud")
        assert answer["why"]
        assert (answer["dollars"] > 0) == (answer["cloud_tokens"] > 0)
        if answer["answered_by"] == "local":
            assert answer["dollars"] == 0.0


def test_what_the_model_cannot_read_is_refused(finished: dict[str, Path], refused: Any) -> None:
    run = finished["dagrpo"]
    assert "'ß'" in refused("ask", "The ßum?", "--run", run)
    assert "empty" in refused("ask", "  ", "--run", run)
    assert "tokens" in refused("ask", "5+" * 300 + "5", "--run", run)
    assert "<ask>" in refused("ask", "<ask> 3+4", "--run", run)


def test_help_is_asked_where_a_budget_of_one_allows_it(
    model: Path, command: Command, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"budget": 1.0, "steps": 1, "price__spare": False}
    run_new(tmp_path / "run", config_of("understudy", model, cloud__accuracy=1.0, **settings))
    code, out, _ = command("ask", "3+4", "--run", tmp_path / "run", "--json")
    answer = json.loads(out, parse_constant=pytest.fail)
    assert (code, answer["answered_by"], answer["answer"]) == (0, "cloud", "7")
    assert answer["dollars"] > 0
    code, out, _ = command("ask", "3+4", "--run", tmp_path / "run")
    assert out.splitlines()[0] == "7"
    assert "cloud" in out


def test_an_examination_is_printed_as_a_table_and_as_json(
    finished: dict[str, Path], command: Command
) -> None:
    arguments = ["eval", finished["understudy"], "--queries", 6]
    code, out, err = command(*arguments, "--json")
    assert (code, err) == (0, "")
    cells = json.loads(out, parse_constant=pytest.fail)
    assert [cell["task"] for cell in cells] == ["facts", "strings"]
    assert all(0 <= cell["system"] <= 1 for cell in cells)
    code, table, _ = command(*arguments)
    assert code == 0
    assert all(f"{cell['local']:.3f}" in table for cell in cells)


def test_another_router_decides_in_an_examination_and_on_a_question(
    finished: dict[str, Path], command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished["understudy"], run)
    code, out, err = command("eval", run, "--queries", 6, "--router", "random", "--json")
    assert (code, err) == (0, "")
    assert [cell["ask_rate"] for cell in json.loads(out)] == [0.3, 0.3]
    code, out, _ = command("ask", "3+4", "--run", run, "--router", "random")
    assert "a share of 0.30 is sent at random" in out
    for verb in (["eval", run], ["ask", "3+4", "--run", run]):
        code, _, err = command(*verb, "--router", "calibrate")
        assert (code, "did you mean calibrated" in err) == (2, True)


def test_a_threshold_that_nothing_passes_is_still_json(
    model: Path, command: Command, tmp_path: Path
) -> None:
    run = run_new(tmp_path / "run", config_of("understudy", model, budget=0.0, steps=1))
    for arguments in (["eval", run.path, "--queries", 4], ["ask", "3+4", "--run", run.path]):
        code, out, _ = command(*arguments, "--json")
        shown = json.loads(out, parse_constant=pytest.fail)
        assert code == (isinstance(shown, dict) and shown["answer"] is None)
        threshold = (shown[0] if isinstance(shown, list) else shown)["threshold"]
        assert threshold is None or threshold > 1000


def test_runs_are_compared_as_a_table_and_as_json(
    finished: dict[str, Path], command: Command
) -> None:
    code, out, err = command("compare", *finished.values(), "--json")
    assert (code, err) == (0, "")
    records = json.loads(out, parse_constant=pytest.fail)
    assert [record["recipe"] for record in records] == list(finished)
    assert all(0 <= record["local ACC"] <= 1 for record in records)
    code, table, _ = command("compare", *finished.values())
    assert code == 0
    assert all(name in table for name in finished)


def test_runs_are_compared_on_a_page(
    finished: dict[str, Path], command: Command, refused: Any, tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    code, out, _ = command("compare", *finished.values(), "--out", file)
    assert (code, out.splitlines()[-1]) == (0, f"page: {file}")
    text = file.read_text()
    assert all(f">{run.name}<" in text for run in finished.values())
    assert "is there already" in refused("compare", *finished.values(), "--out", file)
    assert "folder is not there" in refused(
        "compare", *finished.values(), "--out", tmp_path / "a/b"
    )


def test_a_report_is_written_anew(finished: dict[str, Path], command: Command) -> None:
    first = RunDirectory.open(finished["gapg"])
    first.report.unlink(missing_ok=True)
    code, out, err = command("report", first.path)
    assert (code, err) == (0, "")
    assert out.strip() == str(first.report)
    once = first.report.read_bytes()
    command("report", first.path)
    assert first.report.read_bytes() == once


def test_export_prints_what_it_made(
    finished: dict[str, Path], command: Command, refused: Any, tmp_path: Path
) -> None:
    to_merged = ("export", finished["grpo"], "--to", "merged", "--out", tmp_path / "whole")
    code, out, _ = command(*to_merged)
    assert (code, out) == (0, f"{tmp_path / 'whole'}\n")
    assert (tmp_path / "whole" / "model.safetensors").is_file()
    assert "is there already" in refused(*to_merged)
