"""What happened over an hour, a day or a week, read from sums by the minute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from understudy.store.caps import PICODOLLARS
from understudy.store.database import Database
from understudy.store.quantiles import added, quantile
from understudy.store.rollups import FIRST, WHOLE
from understudy.store.tables import rollup_times, rollups

SHARES = (0.5, 0.95, 0.99)  # the quantiles that are shown
LOCAL, CLOUD, REFUSED = "local", "cloud", "refused"


@dataclass(frozen=True, slots=True)
class Span:
    """A time to look at, cut into steps."""

    name: str
    minutes: int
    step: int  # minutes of one step
    sums: int  # minutes of the sums that it is read from
    refresh: float  # seconds after which it may look different

    def starts(self, now: float) -> list[int]:
        """The first minute of each step; the last step has the present minute in it."""
        last = int(now // 60) // self.step * self.step
        return list(range(last - self.minutes + self.step, last + 1, self.step))


SPANS = {
    each.name: each
    for each in (
        Span("hour", 60, 1, sums=1, refresh=2.0),
        Span("day", 1440, 10, sums=10, refresh=10.0),
        Span("week", 10_080, 60, sums=10, refresh=30.0),
    )
}


@dataclass(slots=True)
class Counts:
    """Of requests that ended."""

    requests: int = 0
    local: int = 0
    cloud: int = 0
    refused: int = 0
    asked: int = 0  # the cloud was called, whoever answered
    tokens: int = 0  # of the questions and answers that were given
    cloud_tokens: int = 0
    dollars: float = 0.0

    @property
    def ask_rate(self) -> float | None:
        """Of the questions that were not refused, the share for which a cloud was called."""
        answered = self.requests - self.refused
        return min(self.asked / answered, 1.0) if answered else None

    def share(self, part: int) -> float | None:
        return part / self.requests if self.requests else None

    def add(self, row: Any) -> None:
        """A row of `rollups`, or a sum of such rows."""
        count = int(row.requests)
        self.requests += count
        if row.answered_by == LOCAL:
            self.local += count
        elif row.answered_by == CLOUD:
            self.cloud += count
        else:
            self.refused += count
        self.asked += int(row.asked)
        self.tokens += int(row.tokens)
        self.cloud_tokens += int(row.cloud_tokens)
        self.dollars += int(row.dollars) / PICODOLLARS


Quantiles = dict[float, float | None]
Buckets = dict[int, int]


@dataclass(slots=True)
class Times:
    """One measure of latency, in seconds."""

    steps: list[Quantiles]  # of each step
    total: Quantiles
    by: dict[str, Quantiles]  # of local and of cloud answers


@dataclass(slots=True)
class History:
    """A span of time, step by step and in sum."""

    span: Span
    starts: list[int]  # minutes since 1970
    steps: list[Counts]
    total: Counts
    keys: dict[str, Counts]
    first: Times
    whole: Times
    now: float = field(default=0.0)

    @property
    def times(self) -> list[int]:
        """The steps in seconds since 1970."""
        return [start * 60 for start in self.starts]

    @property
    def per_second(self) -> float:
        """Requests, over the time that has passed."""
        seconds = self.now - self.starts[0] * 60
        return self.total.requests / seconds if seconds > 0 else 0.0


def read(database: Database, span: Span, now: float) -> History:
    """Three queries, over a few thousand rows at most."""
    starts = span.starts(now)
    with database.reading() as connection:
        rows = _counts(connection, span, starts)
        by_key = _counts_of_keys(connection, span, starts)
        times = _times(connection, span, starts)
    steps = [Counts() for _ in starts]
    total = Counts()
    keys: dict[str, Counts] = {}
    for row in rows:
        steps[_place(span, starts, row.step)].add(row)
        total.add(row)
    for row in by_key:
        keys.setdefault(row.key, Counts()).add(row)
    measures = {name: [each for each in times if each.measure == name] for name in (FIRST, WHOLE)}
    first, whole = (_summed(span, starts, measures[name]) for name in (FIRST, WHOLE))
    return History(span, starts, steps, total, keys, first, whole, now)


def _place(span: Span, starts: Sequence[int], step: int) -> int:
    return (int(step) * span.step - starts[0]) // span.step


def _within(table: Any, span: Span, starts: Sequence[int]) -> ColumnElement[bool]:
    found: ColumnElement[bool] = (
        (table.c.span == span.sums)
        & (table.c.start >= starts[0])
        & (table.c.start < starts[-1] + span.step)
    )
    return found


_SUMS = tuple(
    func.sum(rollups.c[name]).label(name)
    for name in ("requests", "asked", "tokens", "cloud_tokens", "dollars")
)


def _counts(connection: Connection, span: Span, starts: Sequence[int]) -> Sequence[Any]:
    step = (rollups.c.start // span.step).label("step")
    query = select(step, rollups.c.answered_by, *_SUMS).where(_within(rollups, span, starts))
    return connection.execute(query.group_by(step, rollups.c.answered_by)).all()


def _counts_of_keys(connection: Connection, span: Span, starts: Sequence[int]) -> Sequence[Any]:
    which = (rollups.c.key, rollups.c.answered_by)
    query = select(*which, *_SUMS).where(_within(rollups, span, starts)).group_by(*which)
    return connection.execute(query).all()


def _times(connection: Connection, span: Span, starts: Sequence[int]) -> Sequence[Any]:
    table = rollup_times
    step = (table.c.start // span.step).label("step")
    which = (step, table.c.measure, table.c.answered_by, table.c.bucket)
    query = select(*which, func.sum(table.c.requests).label("requests"))
    return connection.execute(query.where(_within(table, span, starts)).group_by(*which)).all()


def _summed(span: Span, starts: Sequence[int], rows: Iterable[Any]) -> Times:
    steps: list[Buckets] = [{} for _ in starts]
    by: dict[str, Buckets] = {}
    for row in rows:
        for counts in (steps[_place(span, starts, row.step)], by.setdefault(row.answered_by, {})):
            counts[row.bucket] = counts.get(row.bucket, 0) + int(row.requests)
    return Times(
        [_quantiles(counts) for counts in steps],
        _quantiles(added(by.values())),
        {name: _quantiles(counts) for name, counts in by.items()},
    )


def _quantiles(counts: Buckets) -> Quantiles:
    return {share: quantile(counts, share) for share in SHARES}
