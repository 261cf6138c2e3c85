"""Recent decisions: who answered which question and why, one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import select

from understudy.store.caps import PICODOLLARS
from understudy.store.database import Database
from understudy.store.tables import events, feedback

_AMONG = 20_000  # the newest events that are looked through for those that fit a filter
_LONGEST = 8_000  # characters of a text that are shown
_MOST_MESSAGES = 40
_COLUMNS = (
    *("id", "request_id", "at", "key", "team", "conversation", "task", "status", "answered_by"),
    *("why", "model", "version", "cloud", "asked", "prompt_tokens", "completion_tokens", "calls"),
    *("cloud_prompt_tokens", "cloud_completion_tokens", "dollars", "seconds"),
    *("first_token_seconds", "signals"),
)
_SHOWN = tuple(events.c[name] for name in _COLUMNS)


@dataclass(frozen=True, slots=True)
class Filter:
    answered_by: str = ""  # "asked": a cloud was called, whoever answered
    key: str = ""
    before: float | None = None  # seconds since 1970
    before_id: str = ""  # of those of the same moment, the ones before this

    @property
    def is_set(self) -> bool:
        return bool(self.answered_by or self.key)


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a question or an answer, as much of it as is shown."""

    role: str
    text: str
    more: int = 0  # characters that are not shown


@dataclass(frozen=True, slots=True)
class Judged:
    metric: str
    value: Any
    comment: str
    at: float


@dataclass(frozen=True, slots=True)
class Told:
    """A decision with all that is kept of it."""

    event: Any
    question: Sequence[Said] | None  # None: the text was not kept
    answer: Sequence[Said] | None
    feedback: Sequence[Judged]

    def without_text(self) -> Told:
        """For whoever may know who answered, and not what was said. Corrections and comments are
        texts too."""
        return replace(self, question=None, answer=None, feedback=())


def anchor(event: str) -> str:
    """An id for the page's elements: an event's own may have any character in it."""
    return f"d-{hashlib.sha256(event.encode('utf-8', 'replace')).hexdigest()[:16]}"


def dollars_of(event: Any) -> float:
    return float(event.dollars / PICODOLLARS)


def recent(database: Database, which: Filter, limit: int) -> list[Any]:
    """The newest first, without their texts."""
    query = select(*_SHOWN).order_by(events.c.at.desc(), events.c.id.desc()).limit(limit)
    with database.reading() as connection:
        newest = select(events.c.at).order_by(events.c.at.desc())
        if which.before is not None:
            same = (events.c.at == which.before) & (events.c.id < which.before_id)
            query = query.where((events.c.at < which.before) | same)
            newest = newest.where(events.c.at < which.before)
        if which.key:
            query = query.where(events.c.key == which.key)
        if which.answered_by:
            # Else a question of which there is none would have all events looked through.
            oldest = connection.execute(newest.offset(_AMONG).limit(1)).scalar()
            if oldest is not None:
                query = query.where(events.c.at > oldest)
            asked = which.answered_by == "asked"
            query = query.where(
                events.c.asked if asked else events.c.answered_by == which.answered_by
            )
        return list(connection.execute(query))


def told(database: Database, event: str) -> Told | None:
    with database.reading() as connection:
        query = select(*_SHOWN, events.c.request, events.c.answer).where(events.c.id == event)
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        said = select(feedback).where(feedback.c.event == event).order_by(feedback.c.at)
        judged = [Judged(j.metric, j.value, j.comment, j.at) for j in connection.execute(said)]
    question = None if row.request is None else _question(orjson.loads(row.request))
    answer = None if row.answer is None else _answer(orjson.loads(row.answer))
    return Told(row, question, answer, judged)


def _question(body: Any) -> list[Said]:
    if not isinstance(body, Mapping):
        return []
    messages = body.get("messages")
    if not isinstance(messages, Sequence):
        return [_said("user", body.get("prompt"))]
    return [_message(each) for each in messages[-_MOST_MESSAGES:] if isinstance(each, Mapping)]


def _answer(completion: Any) -> list[Said]:
    choices = completion.get("choices") if isinstance(completion, Mapping) else None
    found = []
    for choice in choices if isinstance(choices, Sequence) else ():
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if isinstance(message, Mapping):
            found.append(_message({"role": "assistant", **message}))
    return found


def _message(message: Mapping[str, Any]) -> Said:
    content = message.get("content")
    if not content and message.get("tool_calls"):
        content = orjson.dumps(message["tool_calls"], option=orjson.OPT_INDENT_2).decode()
    return _said(str(message.get("role") or ""), content)


def _said(role: str, content: Any) -> Said:
    """Any content: text, parts, or something else, which is shown as JSON."""
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [_part(each) for each in content]
        content = "\n".join(parts)
    elif content is None:
        content = ""
    elif not isinstance(content, str):
        content = orjson.dumps(content).decode()
    return Said(role[:40], content[:_LONGEST], max(len(content) - _LONGEST, 0))


def _part(part: Any) -> str:
    if isinstance(part, Mapping):
        if isinstance(part.get("text"), str):
            return str(part["text"])
        return f"[{str(part.get('type') or 'part')[:40]}]"
    return str(part)
