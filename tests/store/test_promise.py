"""No overshoot, no false refusal, nothing held for ever: small versions of bench/ledger.py."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import ledger as bench
from tests.postgres import Cluster
from understudy.store.caps import Cap, Refusal
from understudy.store.database import open_database
from understudy.store.ledger import Ledger
from understudy.types import Cost

NOTHING = {"calls": 0, "tokens": 0, "dollars": 0}


@pytest.fixture
def socket() -> Iterator[str]:
    """A path short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/s"


def kept(found: dict[str, Any]) -> bool:
    return (
        found["overshoot"] == 0
        and found["difference"] == NOTHING
        and found["holds"] == found["held"] == 0
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_sqlite_spends_its_cap_and_not_more(tmp_path: Path, socket: str, processes: int) -> None:
    file = str(tmp_path / "l.db")
    found = bench.concurrent(file, socket, requests=150, at_once=32, replicas=processes)
    assert kept(found), found
    assert found["false_refusals"] == 0
    assert found["highest"] <= found["cap"]


def test_two_replicas_over_one_postgres_spend_their_cap_and_not_more(
    cluster: Cluster, socket: str
) -> None:
    url = bench.fresh(cluster.url, "")
    found = bench.concurrent(url, socket, requests=150, at_once=32, replicas=2)
    assert kept(found), found
    assert found["false_refusals"] == 0
    assert found["highest"] <= found["cap"]


def test_what_killed_processes_leave_is_resolved(tmp_path: Path, socket: str) -> None:
    found = bench.crashes(str(tmp_path / "l.db"), socket, kills=2)
    assert found["that_left_holds"] > 0
    assert kept(found), found


def test_what_killed_replicas_leave_is_resolved(cluster: Cluster, socket: str) -> None:
    found = bench.crashes(bench.fresh(cluster.url, ""), socket, kills=1)
    assert kept(found), found


@pytest.mark.parametrize("ledgers", [1, 3])
def test_threads_and_ledgers_on_one_file(tmp_path: Path, ledgers: int) -> None:
    """As many processes would: each ledger has a connection of its own."""
    cap = Cap.of("total", "calls", 40)
    found = [Ledger(open_database(tmp_path / "l.db"), [cap]) for _ in range(ledgers)]
    spent: list[int] = []

    def spend(number: int) -> None:
        ledger = found[number % ledgers]
        while True:
            hold = ledger.reserve(("total",), Cost(1))
            if not isinstance(hold, Refusal):
                ledger.settle(hold, Cost(1))
                spent.append(number)
            elif hold.final:
                return

    threads = [threading.Thread(target=spend, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spent) == 40
    assert found[0].spent("total") == Cost(40)
