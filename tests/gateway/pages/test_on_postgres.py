"""The pages over PostgreSQL: what they say is what they say over SQLite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from tests import postgres
from tests.gateway.pages.board import Board
from understudy.gateway.pages import decisions, history, spending
from understudy.gateway.pages.history import SPANS, Counts, History, Span
from understudy.store.caps import Cap
from understudy.store.events import EventWriter
from understudy.store.settings import EventSettings

CAPS = [
    Cap.of("total", "dollars", 5, "day"),
    Cap.of("total", "tokens", 10**6, "90m"),
    Cap.of("key:*", "calls", 9, "week"),
]
KEYS = ["ann", "bob"]


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Board]]:
    """The same requests, over a week, in both."""
    if not postgres.is_installed():
        pytest.skip("PostgreSQL is not installed")
    now = time.time()
    with postgres.cluster() as cluster:
        made = [
            Board(tmp_path_factory.mktemp(name), now, CAPS, url=url)
            for name, url in (("sqlite", ""), ("postgres", cluster.url))
        ]
        for board in made:
            for seconds, seed in ((3000, 1), (80_000, 2), (600_000, 3)):
                board.fill(60, seconds, KEYS, seed)
            board.writer.close()
            # Another replica adds to the same sums.
            settings = EventSettings.model_validate({"text": "all", "days": None})
            board.writer = EventWriter(board.database, settings)
            board.fill(40, 3000, KEYS, 4)
            board.writer.close()
        yield made
        for board in made:
            board.close()


def counted(counts: Counts) -> tuple[Any, ...]:
    """Dollars to the picodollar, in whatever order they were added."""
    whole = (counts.requests, counts.local, counts.cloud, counts.refused, counts.asked)
    return (*whole, counts.tokens, counts.cloud_tokens, round(counts.dollars * 10**12))


def shown(found: History) -> dict[str, Any]:
    return {
        "steps": [counted(each) for each in found.steps],
        "total": counted(found.total),
        "keys": {key: counted(counts) for key, counts in found.keys.items()},
        "first": found.first,
        "whole": found.whole,
    }


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_sums_and_percentiles_are_the_same(boards: list[Board], span: Span) -> None:
    lite, full = (shown(history.read(board.database, span, board.now)) for board in boards)
    assert lite == full
    assert lite["total"][0] >= 100
    assert lite["whole"].total[0.99] is not None


@pytest.mark.parametrize("cap", CAPS[:2], ids=["day", "rolling"])
@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_spending_over_time_is_the_same(boards: list[Board], span: Span, cap: Cap) -> None:
    lite, full = (
        spending.course(each.ledger_database, cap, "total", span, span.starts(each.now), each.now)
        for each in boards
    )
    assert lite == full
    assert max(lite.spent) > 0


@pytest.mark.parametrize("which", [decisions.Filter(), decisions.Filter("cloud", "ann")])
def test_decisions_are_the_same(boards: list[Board], which: decisions.Filter) -> None:
    lite, full = (decisions.recent(board.database, which, 30) for board in boards)
    assert [tuple(row) for row in lite] == [tuple(row) for row in full]
    assert len(lite) > 5
    told = [decisions.told(board.database, lite[0].id) for board in boards]
    assert None not in told


def test_every_page_is_there(boards: list[Board]) -> None:
    with boards[1].served() as gateway:
        for path in (
            *("/", "/?span=day", "/?span=week", "/dashboard/figures"),
            *("/dashboard/decisions?who=asked&key=ann", "/dashboard/versions"),
        ):
            connection = HTTPConnection("127.0.0.1", gateway.port, timeout=60)
            connection.request("GET", path)
            assert connection.getresponse().status == 200, path
            connection.close()
