"""What the pages say of a span of time, worked by hand over a real SQLite file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from understudy.gateway.pages.history import SPANS, Counts, read
from understudy.gateway.pages.spending import allowed_at, course, filled_at
from understudy.store.caps import Cap
from understudy.store.database import Database, open_database, open_events
from understudy.store.events import Event, EventWriter
from understudy.store.ledger import Ledger
from understudy.store.operations import Hold
from understudy.store.settings import EventSettings
from understudy.store.windows import Window
from understudy.types import Cost

NOON = 20_000 * 86_400 + 12 * 3600.0
HOUR, DAY, WEEK = SPANS["hour"], SPANS["day"], SPANS["week"]


def events_of(tmp_path: Path, *given: Event) -> Database:
    database = open_events(tmp_path / "l.db")
    writer = EventWriter(database, EventSettings(days=None), clock=lambda: NOON)
    for each in given:
        writer.add(each)
    writer.close()
    return database


def event(number: int, ago: float, answered_by: str = "local", **more: Any) -> Event:
    """ago: minutes before noon."""
    fixed = {"key": "ann", "why": "", "model": "tiny", "seconds": 1.0}
    return Event(
        id=f"e{number}",
        at=NOON - 60 * ago,
        answered_by=answered_by,
        asked=answered_by == "cloud",
        **{**fixed, **more},
    )


def test_the_last_step_has_the_present_minute() -> None:
    assert HOUR.starts(NOON)[-1] * 60 == NOON
    assert len(HOUR.starts(NOON)) == 60
    assert len(DAY.starts(NOON)) == 144
    assert len(WEEK.starts(NOON)) == 168
    assert DAY.starts(NOON + 599)[-1] * 60 == NOON


def test_requests_are_counted_by_step_and_key(tmp_path: Path) -> None:
    database = events_of(
        tmp_path,
        event(1, 0, prompt_tokens=10, completion_tokens=2),
        event(2, 0, "cloud", key="bob", cost=Cost(1, 7, 3, dollars=0.5)),
        event(3, 5, "refused", key="bob"),
        event(4, 59),
        event(5, 60),  # out of the hour
    )
    found = read(database, HOUR, NOON)
    assert found.total == Counts(
        requests=4, local=2, cloud=1, refused=1, asked=1, tokens=12, cloud_tokens=10, dollars=0.5
    )
    assert [step.requests for step in found.steps] == [1, *[0] * 53, 1, *[0] * 4, 2]
    assert found.keys["ann"].ask_rate == 0
    assert found.keys["bob"].ask_rate == 0.5
    total = found.total
    assert total.ask_rate == 0.25
    shares = [total.share(part) for part in (total.local, total.cloud, total.refused)]
    assert shares == [0.5, 0.25, 0.25]
    assert read(database, DAY, NOON).total.requests == 5


def test_nothing_happened(tmp_path: Path) -> None:
    found = read(events_of(tmp_path), WEEK, NOON)
    assert found.total == Counts()
    assert found.total.ask_rate is None
    assert found.whole.total == {0.5: None, 0.95: None, 0.99: None}
    assert found.per_second == 0


def test_latencies_are_those_of_answers_by_who_gave_them(tmp_path: Path) -> None:
    database = events_of(
        tmp_path,
        event(1, 1, seconds=0.5, first_token_seconds=0.25),
        event(2, 1, "cloud", seconds=4.0),
        event(3, 1, "refused", seconds=64.0),
    )
    found = read(database, HOUR, NOON)
    assert found.whole.by["local"][0.99] == pytest.approx(0.5, rel=0.2)
    assert found.whole.by["cloud"][0.5] == pytest.approx(4.0, rel=0.2)
    assert found.whole.total[0.99] == pytest.approx(4.0, rel=0.2)
    assert found.first.total[0.5] == pytest.approx(0.25, rel=0.2)
    assert found.whole.steps[-2] == found.whole.total
    assert found.whole.steps[-1][0.5] is None


def test_a_calendar_window_empties_when_it_begins_anew() -> None:
    day = Window.of("day")
    midnight = 20_000 * 1440
    spent = {midnight - 120: 3, midnight - 1: 4, midnight: 5, midnight + 30: 1}
    ends = [midnight - 60, midnight, midnight + 1, midnight + 60]
    assert filled_at(spent, day, ends) == [3, 7, 5, 6]


def test_a_rolling_window_lets_go_of_what_is_old() -> None:
    spent = {0: 1, 10: 2, 20: 4}
    window = Window.of("15m")
    assert filled_at(spent, window, [1, 11, 21, 26, 27, 37]) == [1, 3, 6, 6, 4, 0]


def test_what_a_paced_cap_allows_grows() -> None:
    cap = Cap.of("total", "calls", 1000, "day", paced=True, at_once=0.1)
    midnight = 20_000 * 86_400.0
    assert allowed_at(cap, midnight + 43_200) == 550
    assert allowed_at(cap, midnight + 86_400) == 1000
    assert allowed_at(Cap.of("total", "calls", 7, "day"), midnight) == 7


@pytest.mark.parametrize("per", ["day", "24h", "lifetime"])
def test_the_course_of_a_cap_begins_with_what_was_spent_before(tmp_path: Path, per: str) -> None:
    now = [NOON - 2 * 3600]
    cap = Cap.of("total", "dollars", 5, per)
    ledger = Ledger(open_database(tmp_path / "l.db"), [cap], clock=lambda: now[0])
    for at, dollars in ((NOON - 2 * 3600, 1.0), (NOON - 600, 0.5)):
        now[0] = at
        hold = ledger.reserve(("total",), Cost(1, dollars=2))
        assert isinstance(hold, Hold)
        ledger.settle(hold, Cost(1, dollars=dollars))
    found = course(ledger.database, cap, "total", HOUR, HOUR.starts(NOON), NOON)
    assert found.spent == [1.0] * 49 + [1.5] * 11
    assert found.allowed == [5.0] * 60
