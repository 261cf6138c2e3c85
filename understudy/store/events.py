"""One event per request: who answered, why, what it cost; and the text, where that is kept.

`EventWriter.add` costs a request an append to a list. A thread writes what gathered, so that an
event is in the database `write_seconds` later at most; those of the last moment before `kill -9`
are lost, and the ledger, which has the money, is not.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from understudy.errors import LedgerUnavailable
from understudy.store.caps import MOST_OF_A_CALL, PICODOLLARS, cut_to_count, picodollars
from understudy.store.database import Database, SteadyConnection
from understudy.store.operations import Resolved
from understudy.store.rollups import Sums, delete_old
from understudy.store.settings import EventSettings
from understudy.store.tables import events, feedback
from understudy.types import Cost

_AT_ONCE = 64  # rows in one transaction: others get their turn in between
_MOST_WAITING = 20_000  # events kept while the database is unreachable
_RETRY_SECONDS = 1.0
_SUMS_SECONDS = 1.0  # sums of events are in the database so long after them
_CLEAN_SECONDS = 600.0  # between two looks for what is too old

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one request. at: seconds since 1970."""

    id: str  # the completion's
    at: float
    key: str
    answered_by: str
    why: str
    model: str
    request_id: str = ""
    team: str = ""
    conversation: str = ""
    task: str = ""
    status: int = 200
    version: str = ""
    cloud: str = ""
    asked: bool = False
    prompt_tokens: int = 0  # of the answer that was given, whoever gave it
    completion_tokens: int = 0
    cost: Cost = Cost()  # of the calls to clouds  # noqa: RUF009
    seconds: float = 0.0
    first_token_seconds: float | None = None
    signals: Mapping[str, Any] = field(default_factory=dict)
    train_on_replies: bool = False  # whether the cloud's terms allow to learn from its answers
    stored: bool = False  # the caller said store: true
    metadata: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, Any] | bytes | None = None  # the body, as a mapping or JSON
    answer: Mapping[str, Any] | bytes | None = None  # OpenAI's chat completion


def interrupted(found: Resolved, at: float) -> Event:
    """The event of a request whose process ended before it could tell of it."""
    hold = found.hold
    named = dict(scope.partition(":")[::2] for scope in hold.scopes)
    charged = "what the cloud says it served" if found.how == "usage" else "all that was held"
    return Event(
        id=f"hold-{hold.id}",
        at=at,
        key=named.get("key", ""),
        team=named.get("team", ""),
        answered_by="refused",
        why=f"the gateway ended before the answer; charged: {charged}",
        model="",
        request_id=hold.request_id,
        status=500,
        cloud=hold.cloud,
        asked=found.cost.calls > 0,
        cost=found.cost,
    )


class EventWriter:
    """Gathers events and writes them in a thread of its own."""

    def __init__(
        self,
        database: Database,
        settings: EventSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or EventSettings()
        self.lost = 0  # events for which there was no room while the database was unreachable
        self._database, self._clock = database, clock
        self._steady = SteadyConnection(database)
        self._waiting: list[Event] = []
        self._some, self._closed = threading.Event(), threading.Event()
        self._writing = threading.Lock()
        self._sums, self._summed_at = Sums(), float("-inf")
        self._cleaned_at = float("-inf")
        self._thread = threading.Thread(target=self._write_for_ever, name="events", daemon=True)
        self._thread.start()

    def add(self, event: Event) -> None:
        """From any thread; never waits, never fails."""
        if len(self._waiting) >= _MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append(event)
        if not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Write everything that was added so far, now. LedgerUnavailable: it stays for later."""
        self._flush(_SUMS_SECONDS)

    def _flush(self, since_sums: float) -> None:
        """since_sums: seconds since the sums were written; where they are many, so are these."""
        with self._writing:
            while batch := self._waiting[:_AT_ONCE]:
                self._write(self._rows(batch))
                del self._waiting[: len(batch)]
            if self._sums and since_sums >= _SUMS_SECONDS:
                self._write_sums()

    def _rows(self, batch: Sequence[Event]) -> list[dict[str, Any]]:
        rows = []
        for event in batch:
            try:
                rows.append(self._row(event))
            except Exception as error:  # such as a cost that is no number
                self._lose(event.id, error)
        return rows

    def _lose(self, event_id: str, problem: Exception) -> None:
        self.lost += 1
        log.error("event %s cannot be written: %s", event_id, problem)

    def _write_sums(self) -> None:
        try:
            self._steady.run(self._sums.write)
        except Exception as error:
            if isinstance(error, LedgerUnavailable) and not _is_value(error.__cause__):
                raise
            log.error("sums of events cannot be written, and are dropped: %s", error)
        self._sums, self._summed_at = Sums(), time.monotonic()

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        try:
            new = self._steady.run(lambda connection: _insert(connection, rows))
            self._sums.count(new)
            return
        except LedgerUnavailable as error:
            if not _is_value(error.__cause__):
                raise
            problem: Exception = error
        except Exception as error:  # such as a number that is too large
            problem = error
        if len(rows) > 1:  # one that no database takes must not stop the others
            for row in rows:
                self._write([row])
            return
        self._lose(rows[0]["id"], problem)

    def close(self) -> None:
        """Write what is there, and end the thread."""
        self._closed.set()
        self._some.set()
        self._thread.join()

    def _write_for_ever(self) -> None:
        while not self._closed.is_set():
            # Without events it looks up every so often for what is too old.
            if self._some.wait(timeout=_SUMS_SECONDS if self._sums else 60.0):
                self._closed.wait(self.settings.write_seconds * 0.8)
            self._some.clear()
            try:
                self._flush(time.monotonic() - self._summed_at)
                self._clean()
            except LedgerUnavailable as error:
                log.warning("%d events wait to be written: %s", len(self._waiting), error)
                self._some.set()
                self._closed.wait(_RETRY_SECONDS)
            except Exception:  # this thread is the only one that writes: it must not end
                log.exception("events could not be written; trying again")
                self._some.set()
                self._closed.wait(_RETRY_SECONDS)
        try:
            self.flush()
        except Exception as error:
            log.error("%d events are lost: %s", len(self._waiting), error)
        self._steady.close()

    def _clean(self) -> None:
        now = time.monotonic()
        if now - self._cleaned_at <= _CLEAN_SECONDS:
            return
        self._cleaned_at = now
        if self.settings.days is not None:
            delete_before(self._database, self._clock() - self.settings.days * 86_400)
        with self._database.writing() as connection:
            delete_old(connection, self._clock())

    def _row(self, event: Event) -> dict[str, Any]:
        keeps = self.settings.text == "all" or (self.settings.text == "asked" and event.stored)
        cost = cut_to_count(event.cost)
        most = MOST_OF_A_CALL // 2
        return {
            **{name: clean_text(getattr(event, name)) for name in _SAME},
            "prompt_tokens": min(event.prompt_tokens, most),
            "completion_tokens": min(event.completion_tokens, most),
            "signals": dict(event.signals),
            "metadata": {clean_text(k): clean_text(v) for k, v in event.metadata.items()},
            "stored": event.stored and keeps and event.answer is not None,
            "calls": cost.calls,
            "cloud_prompt_tokens": cost.prompt_tokens,
            "cloud_completion_tokens": cost.completion_tokens,
            "dollars": picodollars(cost.dollars),
            "request": _json(event.request) if keeps else None,
            "answer": _json(event.answer) if keeps else None,
        }


_SAME = (
    *("id", "request_id", "at", "key", "team", "conversation", "task", "status", "answered_by"),
    *("why", "model", "version", "cloud", "asked", "prompt_tokens", "completion_tokens"),
    *("seconds", "first_token_seconds", "train_on_replies"),
)


def _is_value(error: BaseException | None) -> bool:
    """Whether the database refused a value, rather than being out of reach."""
    return isinstance(error, DataError | IntegrityError) or (
        isinstance(error, StatementError) and not isinstance(error, DBAPIError)
    )


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Once each: a transaction whose end was not heard of may have been written. The new ones.

    Another request may have come with the same id, which clients choose; it gets one of its own.
    """
    ids = [row["id"] for row in rows]
    found = connection.execute(select(events.c.id, events.c.at).where(events.c.id.in_(ids)))
    known: dict[str, float] = {row.id: row.at for row in found}
    new = []
    for row in rows:
        if row["id"] in known:
            if known[row["id"]] == row["at"]:
                continue
            row = {**row, "id": f"{row['id']}.{secrets.token_hex(6)}"}
        known[row["id"]] = row["at"]
        new.append(row)
    if new:
        connection.execute(insert(events), new)
    return new


def _json(value: Mapping[str, Any] | bytes | None) -> str | None:
    if value is None:
        return None
    try:
        if not isinstance(value, bytes):
            return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
        if b"\\ud" in value.lower():
            orjson.loads(value)
        return value.decode("utf-8", "replace")
    except (TypeError, ValueError):  # half of a surrogate pair, such as a model may write
        found = json.loads(value) if isinstance(value, bytes) else value
        text = json.dumps(found, ensure_ascii=False, default=str)
        return text.encode("utf-8", "replace").decode()


def clean_text(value: Any) -> Any:
    """Without what a database does not take: PostgreSQL has no character 0."""
    if not isinstance(value, str) or (value.isascii() and "\0" not in value):
        return value
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def event_of(row: Any) -> Event:
    """An event as the database has it."""
    same = {name: getattr(row, name) for name in _SAME}
    cost = Cost(
        row.calls,
        row.cloud_prompt_tokens,
        row.cloud_completion_tokens,
        dollars=row.dollars / PICODOLLARS,
    )
    return Event(
        **same,
        cost=cost,
        signals=row.signals,
        metadata=row.metadata,
        stored=row.stored,
        request=None if row.request is None else orjson.loads(row.request),
        answer=None if row.answer is None else orjson.loads(row.answer),
    )


def delete_before(database: Database, at: float) -> int:
    """Events and feedback that are older."""
    return _delete(database, events.c.at < at, feedback.c.at < at)


def has_any_of(database: Database, key: str) -> bool:
    """Whether a key asked or judged anything that is kept."""
    with database.reading() as connection:
        return any(
            connection.execute(select(table.c.id).where(table.c.key == key).limit(1)).first()
            for table in (events, feedback)
        )


def delete_of_key(database: Database, key: str) -> int:
    """Everything that a key asked, with the feedback on it and on its conversations, and the
    feedback that it gave. What it spent stays in the ledger. The number of events."""
    own = events.c.key == key
    asked, talked = (select(events.c[name]).where(own) for name in ("id", "conversation"))
    same = events.c.conversation == feedback.c.conversation  # another's may be called alike
    shared = select(events.c.id).where(same, events.c.key != key).exists()
    of_answers = feedback.c.event.in_(asked)
    of_talks = (feedback.c.event == "") & feedback.c.conversation.in_(talked) & ~shared
    with database.writing() as connection:
        connection.execute(delete(feedback).where(of_answers | of_talks))
    deleted = _delete(database, events.c.key == key, feedback.c.key == key)
    database.checkpoint("TRUNCATE")  # the log has it still
    return deleted


def _delete(database: Database, which: Any, and_feedback: Any) -> int:
    """In small transactions, so that nobody waits for long."""
    deleted = 0
    for table, condition in ((events, which), (feedback, and_feedback)):
        some = select(table.c.id).where(condition).limit(500).scalar_subquery()
        while True:
            with database.writing() as connection:
                number = connection.execute(delete(table).where(table.c.id.in_(some))).rowcount
            if not number:
                break
            deleted += number if table is events else 0
    return deleted
