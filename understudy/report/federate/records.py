"""The files of a federation, read for the page and the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.federate.records import (
    ClientResult,
    FederateSummary,
    Line,
    Number,
    SeedMean,
    VariantResult,
)
from understudy.metrics.measured import FloatArray
from understudy.plain import from_plain
from understudy.report.parts.numbers import mean_along, measured
from understudy.run import RunDirectory

Variants = Mapping[str, VariantResult]


@dataclass(frozen=True)
class FederatedRun:
    """All that a page shows."""

    settings: Mapping[str, Any]
    summary: FederateSummary
    lines: list[Line]


def read_summary(run: RunDirectory) -> FederateSummary:
    return from_plain(FederateSummary, run.read(run.summary), run.summary)


def read_run(run: RunDirectory) -> FederatedRun:
    summary = read_summary(run)  # first: without one the run is not finished
    lines = from_plain(list[Line], run.metric_lines(), run.metrics)
    return FederatedRun(run.settings(), summary, lines)


def mean_of(figure: SeedMean) -> float:
    """NaN where there is none."""
    return _finite(figure.mean)


def error_of(figure: SeedMean) -> float:
    return _finite(figure.standard_error)


def clients_of(variant: VariantResult) -> list[tuple[int, list[ClientResult]]]:
    """(number, of every seed) of each client."""
    rows = zip(*(seed.clients for seed in variant.seeds), strict=True)
    return [(row[0].client, list(row)) for row in rows]


def over_seeds(variant: VariantResult, name: str) -> FloatArray:
    """(clients,): a figure of each client, mean over the seeds."""
    table = measured([[getattr(each, name) for each in seed.clients] for seed in variant.seeds])
    return mean_along(table, axis=0)


def matrix_of(matrices: Iterable[Any]) -> FloatArray:
    """(tasks, tasks): mean over several; NaN where nothing was measured."""
    return mean_along(measured(list(matrices)), axis=0)


def overlap(clients: Sequence[ClientResult]) -> FloatArray:
    """(clients, clients): classes that two have in common, as a share of all that they have."""
    held = [{name for task in client.classes for name in task} for client in clients]
    return np.array([[_shared(one, other) for other in held] for one in held], dtype=np.float64)


def _shared(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other) if one | other else math.nan


def curve_of(lines: Iterable[Line], variant: str) -> tuple[FloatArray, FloatArray]:
    """(rounds, (examinations, clients)): accuracy on the tasks so far, mean over seeds; before the
    first task on all."""
    rounds, rows = [], []
    for line in lines:
        if line.variant == variant and line.act != "round":
            table = measured(line.accuracy)  # (seeds, clients, tasks)
            began = line.act == "begin"
            seen = table if began else table[:, :, : line.task + 1]
            rounds.append(0.0 if began else line.round + 1.0)
            rows.append(mean_along(seen, axis=(0, 2)))
    return np.array(rounds), np.array(rows)


def refused_of(variant: VariantResult) -> Counter[str]:
    """What the server refused, by reason, over all seeds."""
    total: Counter[str] = Counter()
    for seed in variant.seeds:
        total.update(seed.refused)
    return total


def events_of(variant: VariantResult) -> Counter[str]:
    """What clients could not use, over all seeds."""
    total: Counter[str] = Counter()
    for seed in variant.seeds:
        for client in seed.clients:
            total.update(client.events)
    return total


def bytes_by_kind(variant: VariantResult) -> dict[str, float]:
    """Up and down by the kind of message, of a federation on average over the seeds."""
    total: dict[str, float] = {}
    for seed in variant.seeds:
        for client in seed.clients:
            for way, kinds in (
                ("up", client.traffic.bytes_up),
                ("down", client.traffic.bytes_down),
            ):
                for kind, sent in kinds.items():
                    name = f"{kind}, {way}"
                    total[name] = total.get(name, 0.0) + sent / len(variant.seeds)
    return total


def by_accuracy(variants: Variants) -> list[str]:
    """The most accurate first; those without a figure last."""
    return sorted(variants, key=lambda name: _downward(mean_of(variants[name].accuracy)))


def _downward(value: float) -> float:
    return -value if math.isfinite(value) else math.inf


def _finite(value: Number) -> float:
    return math.nan if value is None or not math.isfinite(value) else value
