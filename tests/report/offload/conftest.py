"""The files of finished runs, with invented figures."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.offload.steps import quiet_step
from understudy.link import Spend
from understudy.offload.records import Cell, MatrixRow
from understudy.offload.steps import StepMetrics
from understudy.offload.summary import summarise
from understudy.run import RunDirectory

STEPS = 12  # of every phase
MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        name: str = "run",
        tasks: tuple[str, ...] = ("stories", "strings", "facts"),
        settings: dict[str, Any] | None = None,
        asks: bool = True,
    ) -> RunDirectory:
        return written_run(tmp_path / name, tasks, settings or {}, asks)

    return make


def written_run(
    path: Path, tasks: tuple[str, ...], settings: dict[str, Any], asks: bool = True
) -> RunDirectory:
    """`asks=False` is a run as recipe grpo leaves it: no asking, a shift of minus infinity."""
    rng = random.Random(len(tasks))
    stream = [{"families": {task: 1.0}, "steps": STEPS} for task in tasks]
    general = {"recipe": "understudy", "model": "tiny", "stream": stream, "budget": 0.3}
    run = RunDirectory.create(path, general | {"eval_queries": 256, "seed": 4} | settings)
    steps: list[StepMetrics] = []
    for number, task in enumerate(tasks, start=1):
        for _ in range(STEPS):
            steps.append(_step(len(steps) + 1, number, task, asks, rng))
            run.append(steps[-1].to_line(), {})
    matrix = [_row(after, tasks, rng) for after in range(len(tasks) + 1)]
    run.write(run.matrix, [row.to_json() for row in matrix])
    training = Spend(4321, 7, 238, 40000, 3688, 0.0371, 3574.9)
    run.write(run.summary, summarise(steps, matrix, training, Spend(dollars=12.5)).to_json())
    return run


def _step(step: int, phase: int, task: str, asks: bool, rng: random.Random) -> StepMetrics:
    return quiet_step(
        step=step,
        phase=phase,
        task=task,
        ask_rate=rng.uniform(0.2, 0.4) if asks else 0.0,
        frac_reward_zero_std=0.1,
        local_accuracy=rng.uniform(0.4, 0.6),
        system_accuracy=rng.uniform(0.6, 0.8),
        price=rng.uniform(0.3, 0.6) if asks else 0.0,
        shift=rng.uniform(-1, 1) if asks else None,
        no_ask_groups=0.0 if asks else 1.0,
        ask_level_correlation=0.2 if asks else None,
    )


def _row(after: int, tasks: tuple[str, ...], rng: random.Random) -> MatrixRow:
    cells = tuple(_cell(rng) for _ in tasks)
    return MatrixRow(after, after * STEPS, cells, distinct_questions=256 * len(tasks))


def _cell(rng: random.Random) -> Cell:
    local, cloud = rng.uniform(0.2, 0.8), 0.95
    curve = tuple(local + (cloud - local) * (i / 10) ** 0.7 for i in range(11))
    return Cell(
        local=local,
        system=curve[3],
        ask_rate=rng.uniform(0.1, 0.35),
        cloud=cloud,
        own_ask_rate=0.0,
        own_system=local,
        calibrated_ask_rate=0.3,
        calibrated_system=curve[3],
        threshold=0.1,
        curve=curve,
        questions=256,
        cloud_answers=256,
        router_tokens=0,
    )
