"""What people said of answers, beside the events that it is about; and stored completions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Select, or_, select, update

from understudy.store.accounts import insert_of
from understudy.store.database import Database
from understudy.store.events import EventWriter, clean_text
from understudy.store.tables import events, feedback


@dataclass(frozen=True, slots=True)
class Feedback:
    """One judgement of an answer, or of a conversation."""

    id: str
    key: str  # of whoever gave it
    metric: str  # `comment` and `demonstration` are texts
    value: float | bool | str
    answer: str = ""  # the id of a completion or of its request
    conversation: str = ""
    comment: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class EventStore:
    """Events that are read and judged while the gateway runs.

    What was added a moment ago is found too: the writer is flushed first.
    """

    def __init__(
        self, database: Database, writer: EventWriter, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._writer, self._clock = database, writer, clock

    async def judge(self, given: Feedback, everybodys: bool = False) -> bool:
        """Keep it beside its answer. False: there is no such answer, or it is another key's and
        not everybody's are this one's to judge."""
        return await asyncio.to_thread(self._judge, given, everybodys)

    async def stored(
        self,
        key: str | None,
        *,
        model: str = "",
        metadata: Mapping[str, str] | None = None,
        after: str = "",
        limit: int = 20,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """Completions that were asked with store: true. key: whose; None: everybody's."""
        query, after = _mine(select(events), key), clean_text(after)
        if model:
            query = query.where(events.c.model == clean_text(model))
        for name, value in _cleaned(metadata or {}).items():
            query = query.where(events.c.metadata[name].as_string() == value)
        order = (events.c.at, events.c.id)
        query = query.order_by(*(each.desc() if newest_first else each for each in order))

        def read() -> list[dict[str, Any]]:
            self._writer.flush()
            with self._database.reading() as connection:
                page = _after(connection, query, after, newest_first).limit(limit)
                return [_completion(row) for row in connection.execute(page)]

        return await asyncio.to_thread(read)

    async def completion(self, answer: str, key: str | None) -> dict[str, Any] | None:
        row = await asyncio.to_thread(self._find, answer, key)
        return None if row is None else _completion(row)

    async def messages(self, answer: str, key: str | None) -> Sequence[Mapping[str, Any]] | None:
        """What was asked."""
        row = await asyncio.to_thread(self._find, answer, key)
        return None if row is None else list(orjson.loads(row.request).get("messages", []))

    async def describe(
        self, answer: str, key: str | None, metadata: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """Give a stored completion other metadata."""
        values = {"metadata": _cleaned(metadata)}
        found = await asyncio.to_thread(self._change, answer, key, values)
        return await self.completion(answer, key) if found else None

    async def forget(self, answer: str, key: str | None) -> bool:
        """Delete a stored completion's text; that it was asked, and what it cost, stays."""
        nothing = {"stored": False, "metadata": {}, "request": None, "answer": None}
        return await asyncio.to_thread(self._change, answer, key, nothing)

    def _judge(self, given: Feedback, everybodys: bool) -> bool:
        self._writer.flush()
        answer = clean_text(given.answer)
        if answer:
            about = or_(events.c.id == answer, events.c.request_id == answer)
        else:
            about = events.c.conversation == clean_text(given.conversation)
        query = select(events.c.id, events.c.conversation).where(about)
        if not everybodys:
            query = query.where(events.c.key == given.key)
        query = query.order_by(events.c.at.desc()).limit(1)
        with self._database.writing() as connection:
            event = connection.execute(query).one_or_none()
            if event is None:
                return False
            texts = ("id", "key", "metric", "comment", "value")
            row = {
                **{name: clean_text(getattr(given, name)) for name in texts},
                "at": self._clock(),
                "event": event.id if answer else "",
                "conversation": event.conversation,
                "tags": _cleaned(given.tags),
            }
            # The same judgement again, by its id, takes the place of the first.
            add = insert_of(feedback, connection)
            new = {name: add.excluded[name] for name in ("value", "comment", "tags", "at")}
            own = feedback.c.key == given.key
            connection.execute(
                add.on_conflict_do_update(index_elements=["id"], set_=new, where=own), row
            )
        return True

    def _find(self, answer: str, key: str | None) -> Any:
        self._writer.flush()
        with self._database.reading() as connection:
            query = _mine(select(events), key).where(events.c.id == clean_text(answer))
            return connection.execute(query).one_or_none()

    def _change(self, answer: str, key: str | None, values: Mapping[str, Any]) -> bool:
        self._writer.flush()
        which = events.c.stored & (events.c.id == clean_text(answer))
        if key is not None:
            which &= events.c.key == key
        with self._database.writing() as connection:
            return connection.execute(update(events).where(which).values(**values)).rowcount > 0


def _cleaned(texts: Mapping[str, str]) -> dict[str, str]:
    return {clean_text(name): clean_text(value) for name, value in texts.items()}


def _mine(query: Select[Any], key: str | None) -> Select[Any]:
    query = query.where(events.c.stored)
    return query if key is None else query.where(events.c.key == key)


def _after(
    connection: Connection, query: Select[Any], answer: str, newest_first: bool
) -> Select[Any]:
    """The page that begins behind a completion."""
    if not answer:
        return query
    at = connection.execute(select(events.c.at).where(events.c.id == answer)).scalar()
    if at is None:
        return query.where(events.c.id == answer)  # nothing comes after what is not there
    if newest_first:
        later = (events.c.at < at) | ((events.c.at == at) & (events.c.id < answer))
    else:
        later = (events.c.at > at) | ((events.c.at == at) & (events.c.id > answer))
    return query.where(later)


def _completion(row: Any) -> dict[str, Any]:
    """OpenAI's stored completion: the completion with its metadata."""
    completion: dict[str, Any] = orjson.loads(row.answer) if row.answer else {"id": row.id}
    return {**completion, "metadata": row.metadata}
