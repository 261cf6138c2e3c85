"""The tables of a federation, for the page and for the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from understudy.federate.records import SeedMean, VariantResult
from understudy.report.federate.records import (
    Variants,
    bytes_by_kind,
    clients_of,
    error_of,
    mean_of,
    over_seeds,
)
from understudy.report.parts.numbers import count, mean, number, size
from understudy.report.parts.tables import Cell, Table

_MEGABYTE = 1e6


def variant_table(variants: Variants) -> Table:
    """A row per variant, in the order of the settings; ± is the standard error over seeds."""
    heads = ("variant", "accuracy", "pooled", "forgetting", "BWT", "FWT", "bytes up", "bytes down")
    best = _most(mean_of(each.accuracy) for each in variants.values())
    pooled = _most(mean_of(each.pooled) for each in variants.values())
    rows = []
    for name, each in variants.items():
        row: list[str | Cell] = [
            Cell(name, f"{each.method}, server: {each.server}"),
            _with_error(each.accuracy, best),
            _with_error(each.pooled, pooled),
            _with_error(each.forgetting),
            _with_error(each.backward_transfer, sign="+"),
            _with_error(each.forward_transfer, sign="+"),
            size(each.bytes_up),
            size(each.bytes_down),
            number(_per_megabyte(each)),
            number(each.users.unweighted["worst"], 3),
        ]
        rows.append(row)
    return Table((*heads, "accuracy per MB", "worst client"), rows)


def client_table(variant: VariantResult) -> Table:
    """A row per client, mean over seeds; what it holds is of the first seed."""
    heads = ("client", "accuracy", "forgetting", "BWT", "FWT", "classes", "train", "test")
    figures = [
        over_seeds(variant, name)
        for name in ("accuracy", "forgetting", "backward_transfer", "forward_transfer")
    ]
    rows = []
    for place, (client, seeds) in enumerate(clients_of(variant)):
        first = seeds[0]
        row = [str(client), *(number(float(figure[place]), 3) for figure in figures)]
        row += [count(len({name for task in first.classes for name in task}))]
        row += [count(sum(first.train)), count(sum(first.test)), first.small or "–"]
        row += [size(mean([float(_bytes(each.traffic.bytes_up)) for each in seeds]))]
        row += [size(mean([float(_bytes(each.traffic.bytes_down)) for each in seeds]))]
        rows.append(row)
    return Table((*heads, "small network", "bytes up", "bytes down"), rows)


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


def kind_table(variants: Variants) -> Table:
    """Bytes by kind of message and way; without rows where nothing was sent."""
    sent = {name: bytes_by_kind(each) for name, each in variants.items()}
    kinds = sorted({kind for each in sent.values() for kind, total in each.items() if total})
    rows = [
        [name, *(size(each.get(kind) or None) for kind in kinds)]
        for name, each in sent.items()
        if any(each.values())
    ]
    return Table(("variant", *kinds), rows)


def count_table(counts: Mapping[str, Counter[str]]) -> Table | None:
    """What went wrong, by variant; None if nothing did."""
    columns = sorted({column for each in counts.values() for column in each})
    rows = [
        [name, *(count(each[column]) for column in columns)]
        for name, each in counts.items()
        if each
    ]
    return Table(("variant", *columns), rows) if rows else None


def _per_megabyte(variant: VariantResult) -> float:
    crossed = variant.bytes or 0.0
    return mean_of(variant.accuracy) / (crossed / _MEGABYTE) if crossed else math.nan


def _bytes(kinds: Mapping[str, int]) -> int:
    return sum(kinds.values())


def _with_error(figure: SeedMean, top: float = math.nan, sign: str = "") -> Cell:
    found, error = mean_of(figure), error_of(figure)
    note = f"± {number(error, 3)}" if math.isfinite(error) else ""
    return Cell(number(found, 3, sign), note, best=found == top)


def _most(values: Iterable[float]) -> float:
    """NaN where no value stands above another."""
    known = [value for value in values if math.isfinite(value)]
    return max(known) if len(set(known)) > 1 else math.nan
