"""What a run of agents that share left in its files, read for the page and the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.metrics.measured import FloatArray
from understudy.report.parts.numbers import mean_along, measured
from understudy.report.parts.svg import TASKS
from understudy.share.settings import INITIAL_TASKS

Record = dict[str, Any]


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


def curves_of(lines: Iterable[Record]) -> dict[str, Curve]:
    """By variant, those that were examined."""
    own: dict[str, list[Record]] = {}
    for line in lines:
        own.setdefault(line["variant"], []).append(line)
    return {
        variant: Curve(
            measured([line["task"] for line in each]),
            measured([line["epoch"] for line in each]),
            mean_along(measured([line["accuracy"] for line in each]), axis=1),
        )
        for variant, each in own.items()
    }


def marks_of(variants: Mapping[str, Record]) -> dict[str, Mark]:
    """A colour each within its learner; a learner has its own points and lines."""
    used: Counter[str] = Counter()
    marks = {}
    for name, variant in variants.items():
        learner = variant["learner"]
        colour = TASKS[used[learner] % len(TASKS)]
        used[learner] += 1
        modular = learner == "modular"
        marks[name] = Mark(colour, "o" if modular else "s", "-" if modular else (0, (4, 1.5)))
    return marks


def figure_of(variant: Record, key: str, part: str = "mean") -> float:
    """A mean or a standard error; NaN where there is none."""
    pair = variant.get(key) or {}
    value = pair.get(part)
    return math.nan if value is None or not math.isfinite(value) else float(value)


def user_figure(variant: Record, key: str, weights: str = "unweighted") -> float | None:
    value: float | None = variant["users"][weights].get(key)
    return value


def best_of(variants: Mapping[str, Record]) -> str:
    """The name of the most accurate; the first of several, or of all where none has a figure."""
    accuracies = {name: figure_of(each, "accuracy") for name, each in variants.items()}
    known = [name for name, accuracy in accuracies.items() if math.isfinite(accuracy)]
    return max(known or accuracies, key=lambda name: accuracies[name] if known else 0.0)


def by_accuracy(variants: Mapping[str, Record]) -> list[str]:
    """The most accurate first; those without a figure last."""
    return sorted(variants, key=lambda name: _downward(figure_of(variants[name], "accuracy")))


def base_of(variants: Mapping[str, Record], name: str) -> str | None:
    """The variant of the same learner that shares nothing, where it is another one."""
    base: str | None = variants[name].get("base")
    return base if base != name and base in variants else None


def agents_of(variant: Record) -> FloatArray:
    """(seeds, agents): final accuracies."""
    return measured([[agent["accuracy"] for agent in seed["agents"]] for seed in variant["seeds"]])


def by_kind(variant: Record, unit: str) -> Counter[str]:
    """Bytes or floats by the kind of message, of a population on average over the seeds."""
    total: Counter[str] = Counter()
    for edge in _edges(variant):
        total.update(edge[unit])
    return Counter({kind: value / len(variant["seeds"]) for kind, value in total.items()})


def fates_of(variant: Record) -> Counter[str]:
    """What became of the messages of all seeds."""
    total: Counter[str] = Counter()
    for edge in _edges(variant):
        total.update(edge["fates"])
    return total


def events_of(variant: Record) -> Counter[str]:
    """What agents could not use, over all seeds."""
    total: Counter[str] = Counter()
    for seed in variant["seeds"]:
        total.update(seed["events"])
    return total


def words_of(variant: Record) -> str:
    """'modular, sends data and modules'."""
    shares = [str(share) for share in variant["shares"]]
    sends = " and ".join(filter(None, (", ".join(shares[:-1]), shares[-1]))) if shares else ""
    return f"{variant['learner']}, " + (f"sends {sends}" if shares else "shares nothing")


def fit_name(fit: Record) -> str:
    """'modular, modules': what is alike in the variants of a fit."""
    shares = fit["shares"]
    return f"{fit['learner']}, {shares if isinstance(shares, str) else ', '.join(shares)}"


def _edges(variant: Record) -> Iterable[Record]:
    return (edge for seed in variant["seeds"] for edge in seed["edges"])


def _downward(value: float) -> float:
    return -value if math.isfinite(value) else math.inf
