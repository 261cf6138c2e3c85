"""What is the same on PostgreSQL, and what only it can do: go away and come back."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine

from tests import postgres
from understudy.errors import LedgerUnavailable
from understudy.store.batches import AsyncLedger
from understudy.store.caps import Cap, Refusal
from understudy.store.compaction import compact
from understudy.store.database import Database, NoStoreError, open_database, open_events
from understudy.store.events import Event, EventWriter, delete_of_key
from understudy.store.export import exported
from understudy.store.feedback import EventStore, Feedback
from understudy.store.keys import Keys
from understudy.store.ledger import Ledger
from understudy.store.operations import Hold, Settle
from understudy.store.settings import EventSettings
from understudy.store.versions import Versions
from understudy.types import Cost

pytestmark = pytest.mark.anyio

SCOPES = ("total", "key:ann")
_LONG = 120.0  # seconds that a transaction may take on a busy machine


@pytest.fixture
def database(cluster: postgres.Cluster) -> Iterator[Database]:
    found = open_database(cluster.url)
    with found.writing() as connection:
        for table in ("accounts", "holds", "minutes", "resolved", "keys", "versions", "serving"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    yield found
    found.close()


def test_no_password_of_a_url_is_shown_wherever_it_stands() -> None:
    for place in ("ann:s3cret@h/db", "h/db?user=ann&password=s3cret"):
        shown = Database(create_engine(f"postgresql+psycopg://{place}")).where
        assert "ann" in shown
        assert "s3cret" not in shown


def test_windows_shares_and_late_settlements(database: Database) -> None:
    now = 20_000 * 86_400.0
    caps = [Cap.of("total", "dollars", 1, "1h"), Cap.of("key:*", "share", 0.5)]
    ledger = Ledger(database, caps, clock=lambda: now)
    ledger.see(SCOPES, 3)
    hold = ledger.reserve(SCOPES, Cost(1, 10, 90, dollars=2), Cost(1, 10, 0, dollars=0.1))
    assert isinstance(hold, Hold)
    assert hold.cost.dollars == pytest.approx(1, abs=0.03)
    ledger.resolve(hold, None)
    ledger.settle(hold, Cost(1, 10, 10, dollars=0.4))
    assert ledger.spent("total") == Cost(1, 20, dollars=0.4)
    now += 3000
    assert isinstance(ledger.reserve(SCOPES, Cost(1, dollars=0.7)), Refusal)
    now += 700
    assert isinstance(ledger.reserve(SCOPES, Cost(1, dollars=0.7)), Hold)
    third = ledger.reserve(SCOPES, Cost(1, dollars=0.1))
    assert isinstance(third, Refusal)
    assert third.what == "share/lifetime"


def test_what_the_url_says_goes_before_our_own_options(cluster: postgres.Cluster) -> None:
    database = open_database(f"{cluster.url} -c work_mem=1234kB".replace(" ", "%20"))
    with database.reading() as connection:
        shown = [
            connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("statement_timeout", "work_mem", "timezone")
        ]
    database.close()
    assert shown == ["2min", "1234kB", "UTC"]


def test_a_database_without_our_tables_is_not_taken_for_a_store() -> None:
    with postgres.cluster() as other:
        for opens in (open_database, open_events):
            with pytest.raises(NoStoreError, match="no gateway keeps its"):
                opens(other.url, make=False)
            opens(other.url).close()
            opens(other.url, make=False).close()


def test_old_minutes_become_days(database: Database) -> None:
    now = 20_000 * 86_400.0
    ledger = Ledger(database, [Cap.of("total", "calls", 100)], clock=lambda: now)
    for _ in range(10):
        hold = ledger.reserve(SCOPES, Cost(1))
        assert isinstance(hold, Hold)
        ledger.settle(hold, Cost(1))
        now += 3600
    now += 100 * 86_400
    assert compact(database, now) == 20
    assert Ledger(database, ledger.caps, clock=lambda: now).standing(SCOPES)[0].spent == 10


def test_locks_in_any_order_of_scopes(database: Database, cluster: postgres.Cluster) -> None:
    """Two replicas that reserve for the same scopes in other orders do not block each other."""
    caps = [Cap.of("key:*", "calls", 10**6)]
    orders = [("key:a", "key:b", "key:c"), ("key:c", "key:b", "key:a")]
    failures: list[Exception] = []

    def spend(scopes: tuple[str, ...]) -> None:
        ledger = Ledger(open_database(cluster.url), caps)
        try:
            for _ in range(30):
                hold = ledger.reserve(scopes, Cost(1))
                assert isinstance(hold, Hold)
                ledger.settle(hold, Cost(1))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=spend, args=[scopes]) for scopes in orders * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Ledger(database, caps).spent("key:a") == Cost(120)


async def test_a_database_that_goes_away_and_comes_back(database: Database) -> None:
    with postgres.cluster() as other:
        ledger = Ledger(open_database(other.url), [Cap.of("total", "calls", 5)])
        async with AsyncLedger(ledger, longest=_LONG) as face:
            hold = await face.reserve(SCOPES, Cost(1))
            assert isinstance(hold, Hold)
            await asyncio.to_thread(other.stop)
            with pytest.raises(LedgerUnavailable):
                await face.reserve(SCOPES, Cost(1))
            await face.settle(hold, Cost(1))
            await asyncio.to_thread(other.start)
            async with asyncio.timeout(60):
                while True:
                    try:
                        (standing,) = await face.standing(SCOPES)
                    except LedgerUnavailable:
                        await asyncio.sleep(0.1)
                        continue
                    if standing.spent == 1:
                        break
            assert standing.held == 0


async def test_a_database_that_does_not_answer_closes_the_cloud(database: Database) -> None:
    with postgres.cluster() as other:
        ledger = Ledger(open_database(other.url), [Cap.of("total", "calls", 5)])
        async with AsyncLedger(ledger, longest=5) as face:
            hold = await face.reserve(SCOPES, Cost(1))
            assert isinstance(hold, Hold)
            other.signal(signal.SIGSTOP)
            try:
                with pytest.raises(LedgerUnavailable):
                    await face.reserve(SCOPES, Cost(1))
                refused = face.reserve(SCOPES, Cost(1))
                with pytest.raises(LedgerUnavailable):
                    refused.send(None)  # at once: it waits for nothing
                settled = face.settle(hold, Cost(1))
                assert settled.done()  # kept
            finally:
                other.signal(signal.SIGCONT)
            async with asyncio.timeout(60):
                while face.is_down:
                    await asyncio.sleep(0.05)
            (standing,) = await face.standing(SCOPES)
            assert (standing.spent, standing.held) == (1, 0)


async def test_keys_versions_and_events(database: Database, cluster: postgres.Cluster) -> None:
    keys = Keys(database)
    key, secret = keys.create("app", team="blue")
    assert await keys.find(secret) == key
    versions = Versions(database)
    versions.add("ours", 1, database_folder := cluster.folder)
    versions.promote("ours@1", "better")
    assert versions.find("ours@1").folder == database_folder
    assert str(versions.roll_back("ours", "worse")) == "ours"
    events = open_events(cluster.url)
    writer = EventWriter(events, EventSettings(text="all", days=None))
    question = {"messages": [{"role": "user", "content": "a\0b"}]}
    answer = {"choices": [{"message": {"role": "assistant", "content": "c"}}]}
    for number in range(3):
        about = {"request": question, "answer": answer, "stored": True}
        about |= {"metadata": {"topic": f"it's \0{number}"}, "signals": {"margin": 0.5}}
        writer.add(Event(f"c{number}", float(number), "ann", "local", "sure\0", "tiny", **about))
    store = EventStore(events, writer)
    assert await store.judge(Feedback("f", "ann", "right", True, answer="c1"))
    found = await store.stored("ann", metadata={"topic": "it's \ufffd1"})
    assert [each["metadata"] for each in found] == [{"topic": "it's \ufffd1"}]
    rows = list(exported(events))
    assert [len(row["feedback"]) for row in rows] == [0, 1, 0]
    assert rows[0]["prompt"] == question["messages"]
    assert rows[0]["signals"] == {"margin": 0.5}
    assert await asyncio.to_thread(delete_of_key, events, "ann") == 3
    writer.close()


async def test_a_value_that_is_refused_is_not_an_outage(database: Database) -> None:
    ledger_of_ten = Ledger(database, [Cap.of("total", "calls", 10)])
    async with AsyncLedger(ledger_of_ten, longest=_LONG) as ledger:
        holds = [await ledger.reserve(SCOPES, Cost(1)) for _ in range(2)]
        first, second = (each for each in holds if isinstance(each, Hold))
        done = await asyncio.gather(
            ledger.settle(first, Cost(1)),
            ledger.end(Settle(second, Cost(1, 2**70))),
            ledger.reserve(SCOPES, Cost(1)),
            return_exceptions=True,
        )
        assert done[0] is None
        assert isinstance(done[1], ValueError)
        assert isinstance(done[2], Hold)
        assert not ledger.is_down
        assert ledger.ledger.spent("total") == Cost(1)


async def test_a_character_0_is_kept_and_looked_for_as_another(cluster: postgres.Cluster) -> None:
    """It takes none in a text, and whoever sends one is not told that it is away."""
    events = open_events(cluster.url)
    writer = EventWriter(events, EventSettings(text="all", days=None))
    store = EventStore(events, writer)
    said = {"messages": [{"role": "user", "content": "x"}]}
    odd = {"a\0": "b\0"}
    more = {"conversation": "t\0", "stored": True, "metadata": odd, "request": said, "answer": said}
    writer.add(Event("nul\0", 1.0, "nul", "local", "", "m\0", **more))  # type: ignore[arg-type]
    try:
        assert await store.completion("none\0", "nul") is None
        (found,) = await store.stored("nul", model="m\0", metadata=odd)
        assert found["metadata"] == {"a\ufffd": "b\ufffd"}
        assert await store.stored("nul", after="\0") == []
        for answer, conversation in (("nul\0", ""), ("", "t\0")):
            given = Feedback("f\0", "nul", "comment", "a\0", answer, conversation, "\0", odd)
            assert await store.judge(given)
        assert await store.describe("nul\0", "nul", odd) is not None
        assert await store.forget("nul\0", "nul")
    finally:
        writer.close()
        events.close()
