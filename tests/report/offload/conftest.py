"""The files of finished runs, with invented figures."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.metrics import ask_rate_summary, continual_summary
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
    lines: list[dict[str, Any]] = []
    for number, task in enumerate(tasks, start=1):
        for _ in range(STEPS):
            lines.append(_line(len(lines) + 1, number, task, asks, rng))
            run.append(lines[-1], {})
    matrix = [_row(after, tasks, rng) for after in range(len(tasks) + 1)]
    run.write(run.matrix, matrix)
    run.write(run.summary, _summary(lines, matrix, tasks))
    return run


def _line(step: int, phase: int, task: str, asks: bool, rng: random.Random) -> dict[str, Any]:
    rate = rng.uniform(0.2, 0.4) if asks else 0.0
    return {
        "step": step,
        "phase": phase,
        "task": task,
        "rewards/valid": 1.0,
        "frac_reward_zero_std": 0.1,
        "local_accuracy": rng.uniform(0.4, 0.6),
        "system_accuracy": rng.uniform(0.6, 0.8),
        "cloud/ask_rate": rate,
        "cloud/budget": 0.3,
        "cloud/price": rng.uniform(0.3, 0.6) if asks else 0.0,
        "cloud/shift": rng.uniform(-1, 1) if asks else None,
        "cloud/all_ask_groups": 0.0,
        "cloud/no_ask_groups": 0.0 if asks else 1.0,
        "cloud/ask_level_correlation": 0.2 if asks else None,
        "completions/clipped_ratio": 0.0,
    }


def _row(after: int, tasks: tuple[str, ...], rng: random.Random) -> dict[str, Any]:
    cells = []
    for _ in tasks:
        local, cloud = rng.uniform(0.2, 0.8), 0.95
        curve = [local + (cloud - local) * (i / 10) ** 0.7 for i in range(11)]
        cell = {"local": local, "system": curve[3], "cloud": cloud, "curve": curve}
        cell |= {"calibrated_system": curve[3], "ask_rate": rng.uniform(0.1, 0.35)}
        cells.append(cell | {"own_ask_rate": 0.0, "calibrated_ask_rate": 0.3})
    return {"after_phase": after, "step": after * STEPS, "threshold": -1e4, "tasks": cells}


def _summary(
    lines: list[dict[str, Any]], matrix: list[dict[str, Any]], tasks: tuple[str, ...]
) -> dict[str, Any]:
    summary: dict[str, Any] = {"steps": len(lines)}
    for which in ("local", "system", "calibrated_system"):
        results = np.array([[cell[which] for cell in row["tasks"]] for row in matrix])
        figures = continual_summary(results[1:], results[0])
        # As in a real run, what is not defined is null.
        summary[which] = {key: None if math.isnan(v) else v for key, v in figures.items()}
    summary["phases"] = [
        {
            "phase": number,
            "task": task,
            "budget": 0.3,
            "training": ask_rate_summary(
                [line["cloud/ask_rate"] for line in lines if line["phase"] == number], 0.3
            ),
            "evaluation": matrix[number]["tasks"][number - 1],
        }
        for number, task in enumerate(tasks, start=1)
    ]
    summary["spend"] = {"calls": 4321, "failed_calls": 7, "cache_hits": 238, "tokens": 43688}
    summary["spend"] |= {"dollars": 0.0371, "seconds": 3574.9}
    summary["evaluation_spend"] = dict.fromkeys(summary["spend"], 0) | {"dollars": 12.5}
    return summary
