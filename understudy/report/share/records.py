"""The files of a run of agents that share, read for the page and the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.metrics.measured import FloatArray
from understudy.plain import from_plain
from understudy.report.parts.colours import colour_of
from understudy.report.parts.numbers import mean_along, measured
from understudy.run import RunDirectory
from understudy.share.records import (
    EdgeTraffic,
    Examination,
    Number,
    SeedMean,
    ShareSummary,
    VariantResult,
)
from understudy.share.tick import INITIAL_TASKS


@dataclass(frozen=True)
class SharedRun:
    """All that a page shows."""

    settings: Mapping[str, Any]
    summary: ShareSummary
    examinations: list[Examination]


def read_summary(run: RunDirectory) -> ShareSummary:
    return from_plain(ShareSummary, run.read(run.summary), run.summary)


def read_run(run: RunDirectory) -> SharedRun:
    summary = read_summary(run)  # first: without one the run is not finished
    lines = from_plain(list[Examination], run.metric_lines(), run.metrics)
    return SharedRun(run.settings(), summary, lines)


@dataclass(frozen=True)
class Curve:
    """One variant's accuracy on the tasks seen so far, over the run: a row per examination."""

    task: FloatArray  # counts from 0
    epoch: FloatArray
    agents: FloatArray  # (examinations, agents), mean over the seeds

    @property
    def when(self) -> FloatArray:
        """Tasks gone through; 2.5 is the middle of the third."""
        return self.task + self.epoch / max(1.0, float(self.epoch.max()))

    def within_a_task(self) -> tuple[FloatArray, FloatArray]:
        """(epochs, the mean over agents and later tasks); over all tasks where there are few."""
        later = self.task >= (INITIAL_TASKS if self.task.max() >= INITIAL_TASKS else 0)
        epochs = np.unique(self.epoch[later])
        rows = [self.agents[later & (self.epoch == epoch)] for epoch in epochs]
        return epochs, np.array([float(mean_along(row, (0, 1))) for row in rows])


@dataclass(frozen=True)
class Mark:
    """How a variant is drawn on every plot."""

    colour: str
    point: str
    line: Any


def curves_of(lines: Iterable[Examination]) -> dict[str, Curve]:
    """By variant, those that were examined."""
    own: dict[str, list[Examination]] = {}
    for line in lines:
        own.setdefault(line.variant, []).append(line)
    return {
        variant: Curve(
            measured([line.task for line in each]),
            measured([line.epoch for line in each]),
            mean_along(measured([line.accuracy for line in each]), axis=1),
        )
        for variant, each in own.items()
    }


def marks_of(variants: Mapping[str, VariantResult]) -> dict[str, Mark]:
    """A colour each; a learner has its own points and lines."""
    marks = {}
    for place, (name, variant) in enumerate(variants.items()):
        modular = variant.learner == "modular"
        point, line = ("o", "-") if modular else ("s", (0, (4, 1.5)))
        marks[name] = Mark(colour_of(place), point, line)
    return marks


def mean_of(figure: SeedMean | None) -> float:
    """NaN where there is none."""
    return _finite(figure.mean if figure else None)


def error_of(figure: SeedMean | None) -> float:
    return _finite(figure.standard_error if figure else None)


def _finite(value: Number) -> float:
    return math.nan if value is None or not math.isfinite(value) else value


def by_accuracy(variants: Mapping[str, VariantResult]) -> list[str]:
    """The most accurate first; those without a figure last."""
    return sorted(variants, key=lambda name: _downward(mean_of(variants[name].accuracy)))


def base_of(variants: Mapping[str, VariantResult], name: str) -> str | None:
    """The variant of the same learner that shares nothing, where it is another one."""
    base = variants[name].base
    return base if base != name and base in variants else None


def agents_of(variant: VariantResult) -> FloatArray:
    """(seeds, agents): final accuracies."""
    return measured([[agent.accuracy for agent in seed.agents] for seed in variant.seeds])


def bytes_by_kind(variant: VariantResult) -> dict[str, float]:
    """By the kind of message, of a population on average over the seeds."""
    total: dict[str, float] = {}
    for edge in _edges(variant):
        for kind, sent in edge.bytes.items():
            total[kind] = total.get(kind, 0.0) + sent / len(variant.seeds)
    return total


def fates_of(variant: VariantResult) -> Counter[str]:
    """What became of the messages of all seeds."""
    total: Counter[str] = Counter()
    for edge in _edges(variant):
        total.update(edge.fates)
    return total


def events_of(variant: VariantResult) -> Counter[str]:
    """What agents could not use, over all seeds."""
    total: Counter[str] = Counter()
    for seed in variant.seeds:
        total.update(seed.events)
    return total


def words_of(variant: VariantResult) -> str:
    """'modular, sends data and modules'."""
    shares = variant.shares
    sends = " and ".join(filter(None, (", ".join(shares[:-1]), shares[-1]))) if shares else ""
    return f"{variant.learner}, " + (f"sends {sends}" if shares else "shares nothing")


def _edges(variant: VariantResult) -> Iterator[EdgeTraffic]:
    return (edge for seed in variant.seeds for edge in seed.edges)


def _downward(value: float) -> float:
    return -value if math.isfinite(value) else math.inf
