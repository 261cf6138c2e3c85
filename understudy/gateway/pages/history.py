"""What happened over an hour, a day or a week, read from sums by the minute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, Table, select

from understudy.store.caps import PICODOLLARS
from understudy.store.database import Database
from understudy.store.quantiles import added, quantiles
from understudy.store.rollups import FIRST, WHOLE
from understudy.store.tables import rollup_times, rollups

SHARES = (0.5, 0.95, 0.99)  # the quantiles that are shown
LOCAL, CLOUD, REFUSED = "local", "cloud", "refused"


@dataclass(frozen=True, slots=True)
class Span:
    """A time to look at, cut into steps, of which each has its sums."""

    name: str
    minutes: int
    step: int  # minutes of one step
    refresh: float  # seconds after which it may look different

    def starts(self, now: float) -> list[int]:
        """The first minute of each step; the last step has the present minute in it."""
        last = int(now // 60) // self.step * self.step
        return list(range(last - self.minutes + self.step, last + 1, self.step))


SPANS = {
    each.name: each
    for each in (
        Span("hour", 60, 1, refresh=2.0),
        Span("day", 1440, 10, refresh=10.0),
        Span("week", 10_080, 60, refresh=30.0),
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
        """Of all questions, the share for which a cloud was called, whoever answered."""
        return self.share(self.asked)

    def share(self, part: int) -> float | None:
        return part / self.requests if self.requests else None

    def add(
        self,
        answered_by: str,
        requests: int,
        asked: int,
        tokens: int,
        cloud_tokens: int,
        picodollars: int,
    ) -> None:
        """A row of `rollups`."""
        self.requests += requests
        if answered_by == LOCAL:
            self.local += requests
        elif answered_by == CLOUD:
            self.cloud += requests
        else:
            self.refused += requests
        self.asked += asked
        self.tokens += tokens
        self.cloud_tokens += cloud_tokens
        self.dollars += picodollars / PICODOLLARS


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
    """Two queries, over a few thousand rows at most."""
    starts = span.starts(now)
    with database.reading() as connection:
        counts, times = (connection.execute(query).all() for query in _queries(span, starts))
    steps = {start: Counts() for start in starts}
    total = Counts()
    keys: dict[str, Counts] = {}
    for start, key, *amounts in counts:
        for each in (steps[start], total, keys.setdefault(key, Counts())):
            each.add(*amounts)
    measured: dict[str, list[Any]] = {FIRST: [], WHOLE: []}
    for start, measure, *rest in times:
        measured[measure].append((start, *rest))
    first, whole = (_summed(starts, measured[measure]) for measure in (FIRST, WHOLE))
    return History(span, starts, list(steps.values()), total, keys, first, whole, now)


_COUNTS = ("start", "key", "answered_by", "requests", "asked", "tokens", "cloud_tokens", "dollars")
_TIMES = ("start", "measure", "answered_by", "bucket", "requests")


def _queries(span: Span, starts: Sequence[int]) -> tuple[Select[Any], Select[Any]]:
    def query(table: Table, names: Sequence[str]) -> Select[Any]:
        within = table.c.start.between(starts[0], starts[-1])
        return select(*(table.c[name] for name in names)).where(table.c.span == span.step, within)

    return query(rollups, _COUNTS), query(rollup_times, _TIMES)


def _summed(starts: Sequence[int], rows: Iterable[tuple[int, str, int, int]]) -> Times:
    steps: dict[int, Buckets] = {start: {} for start in starts}
    by: dict[str, Buckets] = {}
    for start, answered_by, bucket, requests in rows:
        for counts in (steps[start], by.setdefault(answered_by, {})):
            counts[bucket] = counts.get(bucket, 0) + requests
    return Times(
        [_quantiles(counts) for counts in steps.values()],
        _quantiles(added(by.values())),
        {name: _quantiles(counts) for name, counts in by.items()},
    )


def _quantiles(counts: Buckets) -> Quantiles:
    return dict(zip(SHARES, quantiles(counts, SHARES), strict=True))
