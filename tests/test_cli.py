"""The command line: what it prints, and one line for whatever a user can mend."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.offload.runs import (
    SMALL,
    Silent,
    StoppedError,
    config_of,
    results_of,
    run_new,
    saved_model,
    settings_of,
)
from understudy import cli
from understudy.recipes import RECIPES, load_method
from understudy.run import RunDirectory
from understudy.settings import described_settings

Command = Callable[..., tuple[int, str, str]]
VERBS = ["train", "ask", "eval", "compare", "report", "export", "env"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each way of serving."""
    folder = tmp_path_factory.mktemp("runs")
    for name in RECIPES:
        run_new(folder / name, config_of(name, model, steps=1))
    return {name: folder / name for name in RECIPES}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line with arguments: (exit code, output, errors)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["understudy", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return run


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Callable[..., str]:
    """Runs what must be refused: one line, exit code 2, and no byte on disk changed."""

    def run(*arguments: object) -> str:
        before = snapshot(tmp_path)
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert snapshot(tmp_path) == before
        return err

    return run


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def small(model: Path, *more: str) -> list[str]:
    given = settings_of(SMALL | {"model": str(model), "steps": 1})
    return [part for setting in (*given, *more) for part in ("--set", setting)]


@pytest.mark.parametrize("name", list(RECIPES))
def test_two_steps_from_the_command_line(
    name: str, model: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code, printed, err = command("train", name, "--out", out, *small(model))
    assert (code, err) == (0, "")
    assert str(out / "report.html") in printed.replace("\n", "")
    run = RunDirectory.open(out)
    assert [line["step"] for line in run.metric_lines()] == [1, 2]
    assert run.settings()["recipe"] == name
    assert "<html" in run.report.read_text()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("budgte=0.3", "did you mean budget"),
        ("budget=1.5", "budget=1.5"),
        ("num_generations=1", "at least two"),
        ("stream=[{families: facts, step: 2}]", "phase 1: step"),
        ("stream=[{families: poems}]", "poems"),
        ("stream=nowhere", "switching"),
        ("model=/nowhere", "config.json is missing"),
        ("device=banana", "device=banana"),
        ("cloud.accuracy=[1, 2]", "cloud.accuracy"),
        ("cloud.accuracy={poems: 1}", "poems"),
        ("recipe=gapg", "the command says dagrpo"),
        ("seed=99999999999999999999", "seed"),
        ("batch_size=99999999999", "99999999999 times num_generations=4"),
        ("num_generations=99999999999", "no more than 1048576"),
        ("eval_queries=99999999999", "eval_queries=99999999999"),
        ("threads=99999999", "threads=99999999"),
        ("budget", "key=value"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_wrong_setting_is_refused_before_anything_is_written(
    setting: str, words: str, dry: list[str], model: Path, refused: Any, tmp_path: Path
) -> None:
    arguments = ["train", "dagrpo", "--out", tmp_path / "run", *small(model, setting), *dry]
    assert words in refused(*arguments)


@pytest.mark.parametrize("content", ["a: [1\nb: {", "- 1", 'budget: "a\\nb"', None])
def test_a_wrong_file_is_refused(
    content: str | None, model: Path, refused: Any, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    refused("train", "dagrpo", "--out", tmp_path / "run", "--config", path, *small(model))


def test_an_unknown_verb_recipe_or_option_is_refused(refused: Any, tmp_path: Path) -> None:
    assert "dagrpo" in refused("train", "nonsense", "--out", tmp_path / "run")
    assert "nonsense" in refused("nonsense")
    assert "--out" in refused("train", "dagrpo")
    assert "--nonsense" in refused("train", "dagrpo", "--out", tmp_path / "run", "--nonsense")
    assert "queries" in refused("eval", tmp_path, "--queries", 0)


def test_a_folder_in_use_is_left_alone(model: Path, refused: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    run_new(tmp_path / "run", config_of("dagrpo", model, steps=1))
    for name, what in (("mine", "other files"), ("run", "another run")):
        assert what in refused("train", "dagrpo", "--out", tmp_path / name, *small(model))


def test_a_place_that_cannot_be_written_is_refused(
    model: Path, refused: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "run", tmp_path / "file", tmp_path / ("x" * 300)):
        refused("train", "dagrpo", "--out", out, *small(model))
    if os.getuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        refused("train", "dagrpo", "--out", tmp_path / "locked" / "run", *small(model))


def test_resuming_what_is_not_there_or_another_is_refused(
    model: Path, refused: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert "no run there" in refused("train", "dagrpo", "--out", out, "--resume")
    with pytest.raises(StoppedError):
        run_new(out, config_of("dagrpo", model, steps=1), Silent(stop_at=2))
    again = ["train", "dagrpo", "--out", out, *small(model), "--resume"]
    assert "learning_rate=0.1, but" in refused(*again, "--set", "learning_rate=0.1")
    assert "the command says gapg" in refused("train", "gapg", "--out", out, "--resume")
    (out / "checkpoints" / "step-000000" / "state.json").write_text('{"step": 0')
    assert "state.json" in refused(*again)
    assert "state.json" in refused("train", "dagrpo", "--out", out, "--resume")


def test_a_finished_run_whose_metrics_are_gone_is_refused_and_loses_nothing(
    model: Path, refused: Any, tmp_path: Path
) -> None:
    run = run_new(tmp_path / "run", config_of("dagrpo", model, steps=1))
    run.report.write_text("kept")
    run.metrics.unlink()
    assert "metrics.jsonl holds 0" in refused("train", "dagrpo", "--out", run.path, "--resume")


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


@pytest.mark.parametrize("again", [True, False])
def test_a_finished_run_may_be_resumed(
    again: bool, model: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run = run_new(out, config_of("dagrpo", model, steps=1))
    before = results_of(run)
    code, _, err = command(
        "train", "dagrpo", "--out", out, "--resume", *(small(model) if again else [])
    )
    assert (code, err) == (0, "")
    assert results_of(run) == before
    assert run.report.exists()


def test_a_run_that_was_stopped_before_its_first_checkpoint_starts_over(
    model: Path, command: Command, tmp_path: Path
) -> None:
    config = config_of("dagrpo", model, steps=1, threads=1, bf16=False)
    wanted = results_of(run_new(tmp_path / "whole", config))
    run = RunDirectory.create(tmp_path / "run", config.model_dump(mode="json"))
    assert command("train", "dagrpo", "--out", run.path, "--resume")[0] == 0
    assert results_of(run) == wanted


def test_an_interrupt_is_one_line_and_its_own_exit_code(
    model: Path, command: Command, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")

    def interrupt(*_: object) -> None:
        if run.metrics.exists() and run.metrics.stat().st_size:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before, hook = signal.signal(signal.SIGALRM, interrupt), sys.unraisablehook
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        code, _, err = command("train", "grpo", "--out", run.path, *small(model, "steps=9999"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = hook
    assert (code, err) == (130, "interrupted; continue with --resume\n")


def test_a_dry_run_prints_settings_that_a_run_takes_and_writes_nothing(
    model: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code, plan, err = command("train", "gapg", "--out", out, *small(model), "--dry-run")
    assert (code, err) == (0, "")
    assert "# 2 steps, 32 responses" in plan
    assert not out.exists()
    (tmp_path / "plan.yaml").write_text(plan)
    assert command("train", "gapg", "--out", out, "--config", tmp_path / "plan.yaml")[0] == 0
    assert len(RunDirectory.open(out).metric_lines()) == 2


def test_a_dry_run_of_a_resumed_run_shows_that_run(
    model: Path, command: Command, tmp_path: Path
) -> None:
    run = run_new(tmp_path / "run", config_of("gapg", model, steps=1, seed=7))
    before = snapshot(run.path)
    code, plan, err = command("train", "gapg", "--out", run.path, "--resume", "--dry-run")
    assert (code, err) == (0, "")
    assert plan.startswith(run.config.read_text())
    assert snapshot(run.path) == before


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
def test_a_question_of_any_kind_gets_an_answer(
    name: str, finished: dict[str, Path], command: Command
) -> None:
    for question in QUESTIONS:
        code, out, err = command("ask", question, "--run", finished[name], "--json")
        assert (code, err) == (0, "")
        answer = json.loads(out, parse_constant=pytest.fail)
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
        assert code == 0
        shown = json.loads(out, parse_constant=pytest.fail)
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


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, command: Command) -> None:
    code, out, err = command(verb, "--help")
    assert (code, err) == (0, "")
    assert "Usage: " in out
    assert verb in command("--help")[1]


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_s_help_lists_every_setting_with_its_meaning(name: str, command: Command) -> None:
    code, out, err = command("train", name, "--help")
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    for row in described_settings(load_method(name).Settings):
        assert f"  {row.key}\n" in out
        assert row.meaning in words
    for option in ("--out", "--config", "--set", "--resume", "--dry-run"):
        assert option in out


@pytest.mark.parametrize("arguments", [[], ["train"]])
def test_without_a_verb_the_help_is_shown(arguments: list[str], command: Command) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")
    assert ("dagrpo" if arguments else "train") in err


def test_a_model_is_described_with_what_a_run_takes(command: Command, tmp_path: Path) -> None:
    given = ("--set", "batch_size=2", "--set", "stream=[{families: facts, steps: 3}]")
    code, out, _ = command("env", "tiny", *given, "--seconds", "1")
    assert code == 0
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert "349,632 parameters" in lines["tiny"]
    assert lines["runs on"] == "builtin"
    assert lines["settings"].endswith("(given: batch_size)")
    assert "a step of 2 prompts x 8 responses x 24 tokens" in lines
    assert lines["a run of 3 steps"].endswith("to examine 3072 questions")
    code, out, _ = command("env", "tiny", *given, "--no-measure", "--json")
    found = json.loads(out)
    assert (code, found["step"], found["model"]["layers"]) == (0, None, 3)
    assert found["settings"]["batch_size"] == 2
    assert "batch_size" not in found["chosen"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere/at/all"], "no checkpoint there"),
        (["tiny", "--set", "budgte=1"], "did you mean budget"),
        (["tiny", "--set", "model=other"], "model=other"),
        (["tiny", "--recipe", "dagrp"], "did you mean dagrpo"),
        (["tiny", "--seconds", "0"], "--seconds"),
        (["--set", "seed=1"], "--set: only with a model; give MODEL"),
        (["--config", "my.yaml"], "--config: only with a model"),
        (["--recipe", "grpo"], "--recipe: only with a model"),
        (["--seconds", "15"], "--seconds: only with a model"),
        (["--no-measure"], "--no-measure: only with a model"),
    ],
)
def test_env_refuses_what_it_cannot_use(arguments: list[str], words: str, command: Command) -> None:
    code, out, err = command("env", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_the_environment_names_its_versions(command: Command) -> None:
    code, out, _ = command("env")
    assert code == 0
    assert "torch: " in out
    assert shutil.which("python") is None or "python: " in out
