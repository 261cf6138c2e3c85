"""Events in a real SQLite file: written in batches, judged, exported, deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from understudy.store.database import Database, open_events
from understudy.store.events import (
    Event,
    EventWriter,
    delete_before,
    delete_of_key,
    event_of,
    interrupted,
)
from understudy.store.export import exported
from understudy.store.feedback import EventStore, Feedback
from understudy.store.operations import Hold, Resolved
from understudy.store.rollups import Sums
from understudy.store.settings import EventSettings
from understudy.store.tables import events, rollups
from understudy.types import Cost

pytestmark = pytest.mark.anyio

QUESTION = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "store": True}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_events(tmp_path / "l.db")


@pytest.fixture
def writer(database: Database) -> Iterator[EventWriter]:
    writer = EventWriter(database, EventSettings(text="all", days=None))
    yield writer
    writer.close()


def event(number: int, **more: Any) -> Event:
    given = {
        "id": f"chatcmpl-{number}",
        "request_id": f"req-{number}",
        "at": 1000.0 + number,
        "key": "ann",
        "answered_by": "local",
        "why": "sure of it",
        "model": "tiny@3",
        "request": QUESTION,
        "answer": {
            "id": f"chatcmpl-{number}",
            "choices": [{"message": {"role": "assistant", "content": "4"}}],
        },
    }
    return Event(**{**given, **more})


def read(database: Database) -> list[dict[str, Any]]:
    return list(exported(database))


def test_what_was_added_is_written_soon(database: Database, writer: EventWriter) -> None:
    writer.add(event(1, cost=Cost(1, 5, 7, dollars=0.25), signals={"margin": 1.5}))
    for _ in range(600):
        if found := read(database):
            break
        time.sleep(0.05)
    assert found[0]["prompt"] == QUESTION["messages"]
    assert found[0]["completion"] == [{"role": "assistant", "content": "4"}]
    assert (found[0]["dollars"], found[0]["calls"]) == (0.25, 1)
    assert found[0]["signals"] == {"margin": 1.5}
    assert found[0]["train_on_replies"] is False


def test_ids_that_clients_repeat_leave_an_event_each(
    database: Database, writer: EventWriter
) -> None:
    for batch in ([10.0, 11.0], [12.0, 10.0]):  # the last one is the first, written again
        for at in batch:
            writer.add(event(1, at=at))
        writer.flush()
    found = read(database)
    assert [row["at"] for row in found] == [10.0, 11.0, 12.0]
    assert found[0]["id"] == "chatcmpl-1"
    assert len({row["id"] for row in found}) == 3


def test_closing_writes_what_is_left(database: Database) -> None:
    writer = EventWriter(database, EventSettings(text="all", days=None))
    for number in range(150):
        writer.add(event(number))
    writer.close()
    assert [row["id"] for row in read(database)] == [f"chatcmpl-{n}" for n in range(150)]


@pytest.mark.parametrize(
    ("text", "kept"), [("off", []), ("asked", ["req-2"]), ("all", ["req-1", "req-2"])]
)
def test_whose_text_is_kept_is_a_choice(database: Database, text: Any, kept: list[str]) -> None:
    writer = EventWriter(database, EventSettings(text=text, days=None))
    writer.add(event(1))
    writer.add(event(2, stored=True))
    writer.close()
    assert [row["request_id"] for row in read(database)] == kept
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM events").scalar() == 2


def test_text_that_no_database_takes_is_written_without_it(
    database: Database, writer: EventWriter
) -> None:
    writer.add(event(1, why="a\0b\ud800", metadata={"k": "\0"}, request={"messages": ["\ud800"]}))
    writer.add(event(2, status=2**80))  # cannot be written: the others are
    writer.add(event(3))
    writer.flush()
    assert [row["id"] for row in read(database)] == ["chatcmpl-1", "chatcmpl-3"]
    assert writer.lost == 1


def test_no_event_ends_the_thread_that_writes(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = EventWriter(database, EventSettings(text="all", days=None))
    writer.add(event(1, cost=Cost(1, 2**70, dollars=5e6), prompt_tokens=2**80))
    writer.add(event(2, cost=Cost(1, dollars=5e6)))  # in the same minute
    writer.add(event(3, cost=Cost(1, dollars=float("nan"))))
    writer.flush()
    assert [row["id"] for row in read(database)] == ["chatcmpl-1", "chatcmpl-2"]
    with database.reading() as connection:
        sums = connection.execute(select(rollups.c.dollars).where(rollups.c.span == 1)).scalar()
    assert sums == 2 * 9007 * 10**12

    def fail(*_: object) -> None:
        raise OverflowError("too large")

    with monkeypatch.context() as patched:
        patched.setattr(Sums, "write", fail)
        writer.add(event(4))
        writer._summed_at = float("-inf")
        writer.flush()
        assert "sums of events cannot be written" in caplog.text
        patched.setattr(EventWriter, "_clean", fail)
        writer.add(event(5))
        deadline = time.monotonic() + 60
        while "events could not be written" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
    writer.add(event(6))
    assert writer._thread.is_alive()
    writer.close()
    assert len(read(database)) == 5


def test_while_the_database_is_gone_events_wait(database: Database, tmp_path: Path) -> None:
    writer = EventWriter(database, EventSettings(text="all", days=None, write_seconds=0.01))
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE events RENAME TO gone")
    writer.add(event(1))
    time.sleep(0.1)
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO events")
    writer.add(event(2))
    writer.close()
    assert len(read(database)) == 2


async def test_feedback_joins_its_event(database: Database, writer: EventWriter) -> None:
    store = EventStore(database, writer)
    writer.add(event(1, conversation="c"))
    writer.add(event(2, conversation="c"))
    by_answer = Feedback("f1", "ann", "right", True, answer="chatcmpl-1", tags={"by": "user"})
    assert await store.judge(by_answer)
    assert await store.judge(Feedback("f2", "ann", "stars", 4.0, answer="req-2"))
    assert await store.judge(Feedback("f3", "ann", "comment", "slow", conversation="c"))
    assert not await store.judge(Feedback("f4", "ann", "right", True, answer="nothing"))
    assert not await store.judge(Feedback("f5", "bob", "right", False, answer="chatcmpl-1"))
    assert await store.judge(Feedback("f6", "bob", "right", False, answer="chatcmpl-1"), True)
    assert await store.judge(Feedback("f1", "ann", "right", False, answer="chatcmpl-1"))  # again
    said = [[(each["metric"], each["value"]) for each in row["feedback"]] for row in read(database)]
    assert sorted(said[0]) == [("comment", "slow"), ("right", False), ("right", False)]
    assert sorted(said[1]) == [("comment", "slow"), ("stars", 4.0)]


async def test_nobody_changes_anothers_feedback(database: Database, writer: EventWriter) -> None:
    store = EventStore(database, writer)
    writer.add(event(1))
    await store.judge(Feedback("f", "ann", "right", True, answer="req-1"))
    await store.judge(Feedback("f", "eve", "right", False, answer="req-1"), everybodys=True)
    assert [each["value"] for each in read(database)[0]["feedback"]] == [True]


async def test_stored_completions_are_listed_described_and_forgotten(
    database: Database, writer: EventWriter
) -> None:
    store = EventStore(database, writer)
    for number in range(1, 6):
        metadata = {"topic": "sums" if number % 2 else "it's"}
        writer.add(event(number, stored=number != 5, metadata=metadata))

    async def ids(**wanted: Any) -> list[str]:
        return [each["id"][-1] for each in await store.stored("ann", **wanted)]

    writer.add(event(6, stored=True, answered_by="refused", status=429, answer=None))
    assert await ids() == ["1", "2", "3", "4"]
    assert await ids(after="chatcmpl-2", limit=1) == ["3"]
    assert await ids(newest_first=True, after="chatcmpl-3") == ["2", "1"]
    assert await ids(metadata={"topic": "sums"}) == ["1", "3"]
    assert await ids(metadata={"topic": "it's"}) == ["2", "4"]
    assert await ids(metadata={"to\"pic'": "x"}) == []
    assert await ids(model="other") == []
    assert await store.stored("bob") == []
    assert await store.messages("chatcmpl-1", "ann") == QUESTION["messages"]
    changed = await store.describe("chatcmpl-1", "ann", {"topic": "new"})
    assert changed is not None
    assert changed["metadata"] == {"topic": "new"}
    assert await store.describe("chatcmpl-1", "bob", {}) is None
    assert await store.forget("chatcmpl-1", None)
    assert not await store.forget("chatcmpl-1", None)
    assert await store.completion("chatcmpl-1", "ann") is None
    assert await ids() == ["2", "3", "4"]


def test_answers_that_must_not_be_learnt_from_can_be_left_out(
    database: Database, writer: EventWriter
) -> None:
    writer.add(event(1))
    writer.add(event(2, answered_by="cloud", asked=True))
    writer.add(event(3, answered_by="cloud", asked=True, train_on_replies=True))
    writer.flush()
    rows = exported(database, for_training=True)
    assert [(row["id"][-1], row["train_on_replies"]) for row in rows] == [("1", False), ("3", True)]


def test_an_export_goes_on_from_page_to_page(database: Database, writer: EventWriter) -> None:
    for number in range(450):
        writer.add(event(number, at=float(number // 3)))
    writer.flush()
    assert len({row["id"] for row in read(database)}) == 450


async def test_a_keys_events_are_deleted_with_what_was_said_of_them(
    database: Database, writer: EventWriter
) -> None:
    store = EventStore(database, writer)
    writer.add(event(1))
    writer.add(event(2, key="bob"))
    await store.judge(Feedback("f1", "bob", "right", True, answer="req-1"), everybodys=True)
    await store.judge(Feedback("f2", "bob", "right", True, answer="req-2"))
    assert await asyncio.to_thread(delete_of_key, database, "ann") == 1
    assert [row["key"] for row in read(database)] == ["bob"]
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT id FROM feedback").scalars().all() == ["f2"]


async def test_what_was_said_of_a_keys_conversations_is_deleted_but_not_of_anothers(
    database: Database, writer: EventWriter
) -> None:
    store = EventStore(database, writer)
    writer.add(event(1, conversation="own"))
    writer.add(event(2, conversation="alike"))
    writer.add(event(3, key="bob", conversation="alike"))
    for about in ("own", "alike"):
        given = Feedback(f"f-{about}", "boss", "comment", "too long", conversation=about)
        assert await store.judge(given, everybodys=True)
    assert await asyncio.to_thread(delete_of_key, database, "ann") == 2
    with database.reading() as connection:
        left = connection.exec_driver_sql("SELECT id FROM feedback").scalars().all()
    assert left == ["f-alike"]


def test_what_was_deleted_is_in_no_file_any_more(database: Database, tmp_path: Path) -> None:
    writer = EventWriter(database, EventSettings(text="all", days=None))
    secret = "the colour of the north door"
    for number in range(20):
        writer.add(event(number, request={"messages": [{"role": "user", "content": secret * 99}]}))
    writer.close()

    def is_written() -> bool:
        return any(secret.encode() in each.read_bytes() for each in tmp_path.iterdir())

    assert is_written()
    assert delete_of_key(database, "ann") == 20
    assert not is_written()


def test_a_request_that_a_crash_ended_leaves_an_event(
    database: Database, writer: EventWriter
) -> None:
    hold = Hold(Cost(1, dollars=2), "h", ("total", "team:x", "key:ann"), 0, "call-1", "main")
    writer.add(interrupted(Resolved(hold, Cost(1, 5, 6, dollars=1), "usage"), 1000.0))
    writer.flush()
    with database.reading() as connection:
        (row,) = connection.execute(select(events)).all()
    found = event_of(row)
    assert (found.key, found.team, found.cloud, found.request_id) == ("ann", "x", "main", "call-1")
    assert found.cost == Cost(1, 5, 6, dollars=1)


def test_what_is_too_old_is_deleted(database: Database, writer: EventWriter) -> None:
    for number in range(3):
        writer.add(event(number))
    writer.flush()
    assert delete_before(database, 1002.0) == 2
    assert [row["id"] for row in read(database)] == ["chatcmpl-2"]
