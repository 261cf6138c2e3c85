"""Training from the command line, and one line for whatever a user can mend."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Command, small, snapshot
from tests.offload.runs import Silent, StoppedError, config_of, results_of, run_new
from understudy.recipes import RECIPES
from understudy.run import RunDirectory


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
            # Python drops what is raised within a finalizer: then it is raised again.
            signal.setitimer(signal.ITIMER_REAL, 20, 20)
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


def test_the_result_of_training_is_json_and_nothing_else_where_that_is_wanted(
    model: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code, printed, err = command("train", "grpo", "--out", out, *small(model), "--json", "--quiet")
    record = json.loads(printed)
    assert (code, err) == (0, "")
    assert (record["run"], record["report"]) == (str(out), str(out / "report.html"))
    assert record["calls"] >= 0
