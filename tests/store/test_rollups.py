"""Sums of events by the minute, and quantiles of counted times, worked by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from understudy.store import rollups
from understudy.store.database import Database, open_events
from understudy.store.events import Event, EventWriter
from understudy.store.quantiles import GROWTH, added, bucket_of, quantile, quantiles
from understudy.store.settings import EventSettings
from understudy.store.tables import rollup_times
from understudy.store.tables import rollups as sums
from understudy.types import Cost

AT = 1_000_020 * 60.0  # the first of ten minutes


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_events(tmp_path / "l.db")


@pytest.fixture
def writer(database: Database) -> Iterator[EventWriter]:
    # Its clock is theirs: what is old is deleted now and then, in a thread.
    writer = EventWriter(database, EventSettings(days=None), clock=lambda: AT)
    yield writer
    writer.close()


def event(number: int, minute: float, **more: Any) -> Event:
    given = {"key": "ann", "answered_by": "local", "why": "sure of it", "model": "tiny@3"}
    return Event(id=f"e{number}", at=AT + 60 * minute, **{**given, **more})


def asked(number: int, minute: float, dollars: float) -> Event:
    cost = Cost(1, 10, 5, dollars=dollars)
    return event(number, minute, answered_by="cloud", asked=True, seconds=2.0, cost=cost)


def counted(database: Database, span: int) -> list[tuple[Any, ...]]:
    columns = (sums.c.start, sums.c.answered_by, sums.c.requests, sums.c.asked, sums.c.dollars)
    query = select(*columns).where(sums.c.span == span).order_by(*columns[:2])
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_events_are_counted_by_the_minute_and_by_ten(
    database: Database, writer: EventWriter
) -> None:
    for each in (event(1, 0.2), event(2, 0.9), asked(3, 1.5, 0.25), asked(4, 10, 0.5)):
        writer.add(each)
    writer.flush()
    first = 1_000_020
    assert counted(database, 1) == [
        (first, "local", 2, 0, 0),
        (first + 1, "cloud", 1, 1, 25 * 10**10),
        (first + 10, "cloud", 1, 1, 5 * 10**11),
    ]
    assert counted(database, 10) == [
        (first, "cloud", 1, 1, 25 * 10**10),
        (first, "local", 2, 0, 0),
        (first + 10, "cloud", 1, 1, 5 * 10**11),
    ]


def test_an_event_that_is_written_again_counts_once(
    database: Database, writer: EventWriter
) -> None:
    writer.add(event(1, 0))
    writer.flush()
    writer.add(event(1, 0))
    writer.add(event(2, 0))
    writer.flush()
    assert [row[2] for row in counted(database, 1)] == [2]


def test_times_of_refusals_are_not_counted(database: Database, writer: EventWriter) -> None:
    writer.add(event(1, 0, seconds=0.5, first_token_seconds=0.25))
    writer.add(event(2, 0, seconds=0.5, answered_by="refused"))
    writer.flush()
    query = select(rollup_times.c.measure, rollup_times.c.bucket, rollup_times.c.requests)
    with database.reading() as connection:
        rows = connection.execute(query.where(rollup_times.c.span == 10)).all()
    assert sorted(map(tuple, rows)) == [("first", -8, 1), ("whole", -4, 1)]


def test_old_sums_are_thrown_away(database: Database, writer: EventWriter) -> None:
    writer.add(event(1, 0))
    writer.add(event(2, 3 * 1440))
    writer.flush()
    with database.writing() as connection:
        rollups.delete_old(connection, AT + 3 * 86_400)
    assert [len(counted(database, span)) for span in (1, 10, 60)] == [1, 2, 2]


def test_a_bucket_reaches_up_to_a_power_of_its_growth() -> None:
    assert [bucket_of(each) for each in (0.5, 1.0, GROWTH, 2.0, 4.0)] == [-4, 0, 1, 4, 8]
    assert bucket_of(0.0) == bucket_of(1e-9) == -60
    assert bucket_of(float("inf")) == bucket_of(1e9) == 60


def test_quantiles_of_counted_times() -> None:
    assert quantile({}, 0.5) is None
    # One bucket from 2 ** -0.25 to 1: half its logarithm is 2 ** -0.125.
    assert quantile({0: 10}, 0.5) == pytest.approx(2**-0.125)
    # Ninety fast ones, ten slow ones: the 95th in a hundred is in the midst of the slow ones.
    found = {0: 90, 8: 10}
    assert quantile(found, 0.9) == pytest.approx(1.0)
    assert quantile(found, 0.95) == pytest.approx(2**1.875)
    assert quantile(found, 1.0) == pytest.approx(4.0)
    shares = (0.5, 0.9, 0.95, 1.0)
    assert quantiles(found, shares) == [quantile(found, share) for share in shares]
    assert added([{0: 1, 1: 2}, {1: 3}]) == {0: 1, 1: 5}


def test_quantiles_are_near_those_of_the_times_themselves() -> None:
    times = [0.01 * 1.01**number for number in range(1000)]
    counts: dict[int, int] = {}
    for each in times:
        counts[bucket_of(each)] = counts.get(bucket_of(each), 0) + 1
    for share in (0.1, 0.5, 0.95, 0.99):
        assert quantile(counts, share) == pytest.approx(times[int(share * 1000)], rel=0.1)
