"""The tables of a run of agents that share, for the page and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from understudy.report.parts.numbers import count, mean_along, number, size, small
from understudy.report.parts.tables import Cell, Table
from understudy.report.share.records import agents_of, bytes_by_kind, error_of, mean_of, words_of
from understudy.share.records import Fit, SeedMean, VariantResult

Variants = Mapping[str, VariantResult]
Counts = Mapping[str, Mapping[str, int]]


def variant_table(variants: Variants) -> Table:
    """A row per variant, in the order of the settings; ± is the standard error over seeds."""
    heads = ("variant", "accuracy", "learning speed", "gain, %", "floats", "bytes")
    every = variants.values()
    accuracy, speed, gain = (
        _most(mean_of(figure) for figure in figures)
        for figures in (
            [each.accuracy for each in every],
            [each.learning_speed for each in every],
            [each.gain for each in every],
        )
    )
    worst = _most(each.users.unweighted["worst"] for each in every)
    rows = []
    for name, each in variants.items():
        least = each.users.unweighted["worst"]
        row: list[str | Cell] = [
            Cell(name, words_of(each)),
            _with_error(each.accuracy, accuracy),
            _with_error(each.learning_speed, speed),
            _with_error(each.gain, gain, digits=2, sign="+"),
            count(each.floats),
            size(each.bytes),
            Cell(number(least, 3), best=least == worst),
            number(each.users.unweighted["std"], 3),
        ]
        rows.append(row)
    return Table((*heads, "worst agent", "std. dev."), rows)


def fit_table(fits: Sequence[Fit]) -> Table:
    """A row per family of variants: the line of gain on ln(cost), and the gain per float."""
    heads = ("shared", "variants", "slope", "intercept", "value of information")
    rows: list[list[str | Cell]] = [
        [
            fit.name,
            str(len(fit.variants)),
            Cell(number(fit.slope), _plus_minus(fit.slope_error, 2)),
            number(fit.intercept),
            small(fit.value_of_information),
        ]
        for fit in fits
    ]
    return Table(heads, rows)


def kind_table(variants: Variants) -> Table:
    """Bytes by kind of message; without rows where nothing was sent."""
    sent = {name: bytes_by_kind(each) for name, each in variants.items()}
    kinds = sorted({kind for each in sent.values() for kind, total in each.items() if total})
    rows = [
        [name, *(size(each.get(kind) or None) for kind in kinds)]
        for name, each in sent.items()
        if any(each.values())
    ]
    return Table(("variant", *kinds), rows)


def user_table(variants: Variants) -> Table:
    deciles = [f"decile_{tenth}" for tenth in range(1, 10)]
    heads = ["variant", "weighted mean", "mean", "std. dev.", "worst"]
    heads += [*(f"{10 * tenth} %" for tenth in range(1, 10)), "best"]
    rows = []
    for name, each in variants.items():
        keys = ("mean", "std", "worst", *deciles, "best")
        figures = [each.users.weighted["mean"], *(each.users.unweighted[key] for key in keys)]
        rows.append([name, *(number(figure, 3) for figure in figures)])
    return Table(heads, rows)


def agent_table(variant: VariantResult) -> Table:
    """Each agent: its accuracy over all seeds, its tasks in the first."""
    accuracy = mean_along(agents_of(variant), axis=0)
    first = variant.seeds[0].agents
    tasks = max(len(agent.tasks) for agent in first)
    heads = ["agent", "accuracy, all seeds", "learning speed", "modules"]
    rows = []
    for place, agent in enumerate(first):
        cells = [number(float(accuracy[place]), 3), number(agent.learning_speed, 3)]
        cells += [count(agent.modules), *(number(found) for found in agent.tasks)]
        rows.append([str(place), *cells])
    return Table([*heads, *(f"task {task + 1}" for task in range(tasks))], rows)


def count_table(counts: Counts, columns: Sequence[str]) -> Table:
    rows = [
        [name, *(count(each.get(column, 0)) for column in columns)] for name, each in counts.items()
    ]
    return Table(("variant", *columns), rows)


def _with_error(figure: SeedMean | None, top: float, digits: int = 3, sign: str = "") -> Cell:
    found = mean_of(figure)
    return Cell(number(found, digits, sign), _plus_minus(error_of(figure), digits), found == top)


def _plus_minus(error: float | None, digits: int) -> str:
    known = error is not None and math.isfinite(error)
    return f"± {number(error, digits)}" if known else ""


def _most(values: Iterable[float | None]) -> float:
    """NaN where no value stands above another."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return max(known) if len(set(known)) > 1 else math.nan
