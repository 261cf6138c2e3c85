"""Events as JSON lines, in the form that TRL's trainers read: `prompt` and `completion`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, func, select, true

from understudy.store.caps import PICODOLLARS
from understudy.store.database import Database
from understudy.store.tables import events, feedback

_AT_ONCE = 200
_COLUMNS = (
    *("id", "request_id", "at", "key", "team", "conversation", "task", "status", "answered_by"),
    *("why", "model", "version", "cloud", "asked", "prompt_tokens", "completion_tokens", "calls"),
    *("seconds", "signals", "train_on_replies", "metadata"),
)
_MAY_TRAIN = (events.c.answered_by == "local") | events.c.train_on_replies


def exported(
    database: Database,
    *,
    key: str | None = None,
    since: float = 0.0,
    for_training: bool = False,
) -> Iterator[dict[str, Any]]:
    """One row per event whose text was kept, oldest first.

    prompt, completion: messages, as TRL's conversational form has them; tools beside them where
    there were some. The other columns are the event's, and `feedback` what was said of it.
    for_training: without the answers of clouds whose terms forbid to learn from them.
    """
    which: ColumnElement[bool] = events.c.answer.is_not(None) & (events.c.at >= since)
    if key is not None:
        which &= events.c.key == key
    if for_training:
        which &= _MAY_TRAIN
    last: ColumnElement[bool] = true()
    while True:
        query = select(events).where(which, last).order_by(events.c.at, events.c.id)
        with database.reading() as connection:  # one for each page: a long one stops checkpoints
            rows = connection.execute(query.limit(_AT_ONCE)).all()
            said = _feedback(connection, rows)
        for row in rows:
            for prompt_and_completion in _texts(row):
                yield prompt_and_completion | _columns(row, said)
        if len(rows) < _AT_ONCE:
            return
        at, name = rows[-1].at, rows[-1].id
        last = (events.c.at > at) | ((events.c.at == at) & (events.c.id > name))


def left_out(
    database: Database, *, key: str | None = None, since: float = 0.0, for_training: bool = False
) -> tuple[int, int]:
    """Events that `exported` leaves out: those without a text, and those whose cloud forbids it."""
    which: ColumnElement[bool] = events.c.at >= since
    if key is not None:
        which &= events.c.key == key
    forbidden = events.c.answer.is_not(None) & ~_MAY_TRAIN
    with database.reading() as connection:
        return (
            _number(connection, which & events.c.answer.is_(None)),
            _number(connection, which & forbidden) if for_training else 0,
        )


def _number(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(events).where(which)).scalar_one()


def _texts(row: Any) -> Iterator[dict[str, Any]]:
    """The question with each of its answers."""
    request, answer = orjson.loads(row.request or "{}"), orjson.loads(row.answer)
    messages = request.get("messages")
    if messages is None:  # /v1/completions
        messages = [{"role": "user", "content": request.get("prompt", "")}]
    tools = {"tools": request["tools"]} if request.get("tools") else {}
    for choice in answer.get("choices", ()):
        message = choice.get("message") or {"role": "assistant", "content": choice.get("text", "")}
        kept = {
            name: message[name] for name in ("role", "content", "tool_calls") if message.get(name)
        }
        yield {
            "prompt": messages,
            "completion": [{"role": "assistant", "content": ""} | kept],
            **tools,
        }


def _columns(row: Any, said: Sequence[Any]) -> dict[str, Any]:
    mine = [
        {name: getattr(each, name) for name in ("metric", "value", "comment", "tags", "key", "at")}
        for each in said
        if each.event == row.id
        or (not each.event and row.conversation and each.conversation == row.conversation)
    ]
    plain = {name: getattr(row, name) for name in _COLUMNS}
    return plain | {"dollars": row.dollars / PICODOLLARS, "feedback": mine}


def _feedback(connection: Any, rows: Sequence[Any]) -> Sequence[Any]:
    """What was said of these events and their conversations, oldest first."""
    if not rows:
        return []
    conversations = {row.conversation for row in rows if row.conversation}
    about = feedback.c.event.in_([row.id for row in rows]) | (
        (feedback.c.event == "") & feedback.c.conversation.in_(conversations)
    )
    found: Sequence[Any] = connection.execute(
        select(feedback).where(about).order_by(feedback.c.at)
    ).all()
    return found
