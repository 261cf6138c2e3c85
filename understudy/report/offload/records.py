"""What a run on a stream left in its files, read for the page and the terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from understudy.plain import from_plain
from understudy.run import RunDirectory

Number = float | None  # null where it was not measured, or means nothing


@dataclass(frozen=True)
class Served:
    """One task, examined. cloud: the accuracy of its answers; null if no call was answered."""

    local: Number
    system: Number
    cloud: Number
    ask_rate: Number


@dataclass(frozen=True)
class Cell(Served):
    """curve: accuracy of the system at every tenth of the share that is asked."""

    curve: list[Number] | None


@dataclass(frozen=True)
class Row:
    """All tasks of the stream after a phase; 0 is before training."""

    after_phase: int
    tasks: list[Cell]


@dataclass(frozen=True)
class Asking:
    """Shares of the responses that ask in training; settled: in the second half of the phase."""

    mean: Number
    settled_mean: Number


@dataclass(frozen=True)
class Phase:
    phase: int
    task: str
    budget: Number
    training: Asking
    evaluation: Served

    @property
    def name(self) -> str:
        return f"{self.phase} {self.task}"


@dataclass(frozen=True)
class Bill:
    calls: int
    failed_calls: int
    cache_hits: int
    tokens: int
    dollars: Number


@dataclass(frozen=True)
class Summary:
    """local, system, calibrated_system: the continual metrics of that accuracy, by name."""

    steps: int
    local: dict[str, Number]
    system: dict[str, Number]
    calibrated_system: dict[str, Number]
    phases: list[Phase]
    spend: Bill
    evaluation_spend: Bill


@dataclass(frozen=True)
class Step:
    """A line of metrics.jsonl."""

    step: int
    phase: int
    task: str
    local_accuracy: Number
    system_accuracy: Number
    ask_rate: Annotated[Number, Field(alias="cloud/ask_rate")]
    budget: Annotated[Number, Field(alias="cloud/budget")]
    price: Annotated[Number, Field(alias="cloud/price")]
    shift: Annotated[Number, Field(alias="cloud/shift")]


@dataclass(frozen=True)
class FinishedRun:
    """All that a page shows."""

    settings: Mapping[str, Any]
    summary: Summary
    matrix: list[Row]
    steps: list[Step]

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


def read_summary(run: RunDirectory) -> Summary:
    return from_plain(Summary, run.read(run.summary), run.summary)


def read_matrix(run: RunDirectory) -> list[Row]:
    return from_plain(list[Row], run.read(run.matrix), run.matrix)


def read_run(run: RunDirectory) -> FinishedRun:
    steps = from_plain(list[Step], run.metric_lines(), run.metrics)
    return FinishedRun(run.settings(), read_summary(run), read_matrix(run), steps)
