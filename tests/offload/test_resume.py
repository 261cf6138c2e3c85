"""A run that was cut short anywhere goes on as if it had not been, bit for bit."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.offload.processes import finished, killed, started
from tests.offload.runs import (
    EVERYTHING,
    SMALL,
    TWO_PHASES,
    Silent,
    StoppedError,
    config_of,
    results_of,
    run_new,
    run_on,
    settings_of,
)
from understudy.recipes import RECIPES
from understudy.run import RunDirectory

FAULTY = {key.replace(".", "__"): value for key, value in EVERYTHING.items()}
EVENTS = 7  # four steps, and three examinations


@pytest.mark.parametrize(
    ("recipe", "events"),
    # Recipes differ in what a checkpoint holds, not in when one is written.
    [(recipe, range(1, EVENTS + 1) if recipe == "understudy" else [5]) for recipe in RECIPES],
)
def test_a_run_stopped_at_any_event_resumes_bit_for_bit(
    recipe: str, events: Sequence[int], model: Path, tmp_path: Path
) -> None:
    learns = {"distill": 0} if recipe == "grpo" else {}  # it asks nothing in training
    config = config_of(recipe, model, **FAULTY | learns)
    whole = Silent()
    wanted = results_of(run_new(tmp_path / "whole", config, whole))
    assert whole.events == EVENTS
    for event in events:
        path = tmp_path / f"stopped-{event}"
        with pytest.raises(StoppedError):
            run_new(path, config, Silent(stop_at=event))
        run = RunDirectory.open(path)
        assert not run.summary.exists()
        assert results_of(run_on(run, config)) == wanted


def test_a_run_stopped_again_and_again_resumes_bit_for_bit(model: Path, tmp_path: Path) -> None:
    config = config_of("understudy", model, checkpoint_every=1, **FAULTY)
    wanted = results_of(run_new(tmp_path / "whole", config))
    with pytest.raises(StoppedError):
        run_new(tmp_path / "again", config, Silent(stop_at=1))
    run, stops = RunDirectory.open(tmp_path / "again"), 1
    while not run.summary.exists():
        try:
            run_on(run, config, Silent(stop_at=3))
        except StoppedError:
            stops += 1
    assert stops > 2
    assert results_of(run) == wanted


def test_a_resumed_run_outlives_the_checkpoint_it_came_from(model: Path, tmp_path: Path) -> None:
    phases = [{"families": "facts", "levels": [1, 1], "steps": 6}]
    config = config_of("dagrpo", model, checkpoint_every=1, stream=phases)
    wanted = results_of(run_new(tmp_path / "whole", config))
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config, Silent(stop_at=2))
    run = RunDirectory.open(tmp_path / "run")
    assert run.last_checkpoint().name == "step-000000"
    assert results_of(run_on(run, config)) == wanted


def test_long_steps_are_saved_one_by_one_with_the_same_numbers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("understudy", model, checkpoint_every=50, **FAULTY)
    wanted = results_of(run_new(tmp_path / "whole", config))
    monkeypatch.setattr("understudy.offload.loop.LONGEST_UNSAVED", 0.0)
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config, Silent(stop_at=3))
    run = RunDirectory.open(tmp_path / "run")
    assert run.last_checkpoint().name == "step-000001"  # the second was not saved yet
    assert results_of(run_on(run, config)) == wanted


def test_resuming_a_finished_run_changes_no_result(model: Path, tmp_path: Path) -> None:
    config = config_of("understudy", model, **FAULTY)
    run = run_new(tmp_path / "run", config)
    before = results_of(run) | {"timings": run.timings.read_bytes()}
    assert results_of(run_on(run, config)) | {"timings": run.timings.read_bytes()} == before


def test_a_run_with_a_reference_is_held_to_the_model_before_training_when_resumed(
    model: Path, tmp_path: Path
) -> None:
    config = config_of("grpo", model, beta=0.5, epsilon=0.2, num_iterations=2)
    wanted = results_of(run_new(tmp_path / "whole", config))
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config, Silent(stop_at=5))
    run = RunDirectory.open(tmp_path / "run")
    assert results_of(run_on(run, config)) == wanted


def test_what_was_said_before_a_stop_is_not_said_again(model: Path, tmp_path: Path) -> None:
    phases = [{"families": "facts", "levels": [1, 1], "steps": 8}]
    settings: dict[str, Any] = {"stream": phases, "max_completion_length": 1}
    config = config_of("dagrpo", model, checkpoint_every=1, **settings)
    whole, first, second = Silent(), Silent(stop_at=8), Silent()
    run_new(tmp_path / "whole", config, whole)
    assert any("max_completion_length" in text for text in whole.warnings)
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config, first)
    run_on(RunDirectory.open(tmp_path / "run"), config, second)
    assert first.warnings
    assert first.warnings + second.warnings == whole.warnings


def command(recipe: str, model: Path, out: Path, settings: dict[str, Any]) -> list[str]:
    given = settings_of(SMALL | {"model": str(model)} | settings)
    sets = [part for setting in given for part in ("--set", setting)]
    return ["train", recipe, "--out", str(out), *sets]


@pytest.mark.slow
def test_an_interrupted_command_says_one_line_and_resumes(model: Path, tmp_path: Path) -> None:
    phases = [{"families": "facts", "levels": [1, 1], "steps": 160}]
    settings = {"stream": phases, "batch_size": 2, "num_generations": 2, "checkpoint_every": 20}
    out = tmp_path / "run"
    said = tmp_path / "said"
    process = started(command("dagrpo", model, out, settings), said)
    assert killed([process], out, 0.15, signal.SIGINT) == [130]
    assert said.read_text() == "interrupted; continue with --resume\n"
    run, config = RunDirectory.open(out), config_of("dagrpo", model, **settings)
    assert 0 < len(run.metric_lines()) < 160
    resumed = results_of(run_on(run, config))
    assert resumed == results_of(run_new(tmp_path / "whole", config))


@pytest.mark.parametrize(
    ("recipe", "kills"),
    [("understudy", 2)]
    + [
        pytest.param(recipe, 5, marks=pytest.mark.slow)
        for recipe in ("understudy", "dagrpo", "gapg")
    ],
)
def test_a_killed_command_resumes_bit_for_bit(
    recipe: str, kills: int, model: Path, tmp_path: Path
) -> None:
    phases = [phase | {"steps": 10} for phase in TWO_PHASES]
    # Saved at every step, so that some of the kills fall into the writing of a checkpoint.
    settings = EVERYTHING | {"stream": phases, "checkpoint_every": 1}
    whole, out = tmp_path / "whole", tmp_path / "run"
    said = tmp_path / "said"
    finished([started(command(recipe, model, whole, settings), said)], said)
    rng, start = random.Random(recipe), command(recipe, model, out, settings)
    resume = [*start[:4], "--resume"]
    for kill in range(kills):
        process = started(resume if kill else start, said)
        codes = killed([process], out, rng.uniform(0.0, 0.4), signal.SIGKILL)
        assert codes == [-signal.SIGKILL], said.read_text()
    finished([started(resume, said)], said)
    wanted, found = (results_of(RunDirectory.open(path)) for path in (whole, out))
    assert found == wanted
    assert len(json.loads(found["matrix.json"])) == 3
