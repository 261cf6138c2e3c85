"""What a run on a stream left in its files, read for the page and the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import RunError
from understudy.offload.records import MatrixRow, RunSummary
from understudy.offload.steps import StepMetrics, read_steps
from understudy.plain import from_plain
from understudy.run import RunDirectory


@dataclass(frozen=True)
class FinishedRun:
    """All that a page shows."""

    settings: Mapping[str, Any]
    summary: RunSummary
    matrix: list[MatrixRow]
    steps: list[StepMetrics]

    @property
    def names(self) -> list[str]:
        return [phase.task for phase in self.summary.phases]


def errors_of(log: Path) -> Counter[str]:
    """Why calls failed, of a log of replies."""
    if not log.exists():
        return Counter()
    with log.open(encoding="utf-8") as lines:
        errors = (json.loads(line).get("error") for line in lines)
        return Counter(error for error in errors if error)


def read_settings(run: RunDirectory) -> Mapping[str, Any]:
    settings = run.settings()
    for key in ("recipe", "model", "seed"):
        if key not in settings:
            raise RunError(f"{run.config}: {key} is missing; restore the file, or start a new run")
    return settings


def read_summary(run: RunDirectory) -> RunSummary:
    return from_plain(RunSummary, run.read(run.summary), run.summary)


def read_matrix(run: RunDirectory) -> list[MatrixRow]:
    return from_plain(list[MatrixRow], run.read(run.matrix), run.matrix)


def read_run(run: RunDirectory) -> FinishedRun:
    return FinishedRun(read_settings(run), read_summary(run), read_matrix(run), read_steps(run))
