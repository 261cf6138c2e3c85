"""The playground: a question goes to the core like any other, and the page shows who answered."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import orjson

from understudy.gateway.door.auth import may
from understudy.gateway.door.door import Door
from understudy.gateway.door.errors import too_slow
from understudy.gateway.door.limits import Count, expected_tokens
from understudy.gateway.pages.live import message
from understudy.gateway.pages.templates import Templates
from understudy.gateway.requests import AUTO, Caller, ChatRequest, Decision, Refused
from understudy.store.keys import Key

_MOST_CHARACTERS = 200_000
_MOST_TOKENS = 100_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody typed."""

    question: str
    model: str = AUTO
    system: str = ""
    dial: float | None = None
    max_tokens: int | None = None
    deadline_ms: int | None = None
    keep: bool = False  # store: true

    @property
    def body(self) -> dict[str, Any]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        found: dict[str, Any] = {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": self.question}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.max_tokens is not None:
            found["max_tokens"] = self.max_tokens
        return found | ({"store": True} if self.keep else {})


def asked_of(form: Mapping[str, str]) -> Asked:
    """Raises ValueError, with what is wrong in one line."""
    question = form.get("question", "").strip()
    if not question:
        raise ValueError("Write a question first.")
    if len(question) + len(form.get("system", "")) > _MOST_CHARACTERS:
        raise ValueError(f"The question is longer than {_MOST_CHARACTERS:,} characters.")
    dial = _number(form, "dial", "The dial", 0, 1)
    tokens = _number(form, "max_tokens", "The longest answer", 1, _MOST_TOKENS)
    deadline = _number(form, "deadline_ms", "The deadline", 1, 10**8)
    return Asked(
        question,
        form.get("model", "").strip() or AUTO,
        form.get("system", "").strip(),
        dial,
        None if tokens is None else int(tokens),
        None if deadline is None else int(deadline),
        form.get("keep") == "on",
    )


def _number(
    form: Mapping[str, str], name: str, words: str, least: float, most: float
) -> float | None:
    text = form.get(name, "").strip()
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not least <= found <= most:
        raise ValueError(f"{words} is a number from {least:g} to {most:,g}.")
    return found


@dataclass(slots=True)
class Answer:
    """What came of a question, as far as it came."""

    request_id: str
    decision: Decision | None = None
    finish_reason: str = ""
    tokens: int | None = None
    first_seconds: float | None = None
    seconds: float | None = None
    error: str = ""
    is_empty: bool = True


class Playground:
    def __init__(self, door: Door, templates: Templates) -> None:
        self._door, self._templates = door, templates

    async def ask(self, asked: Asked, key: Key) -> AsyncGenerator[bytes, None]:
        """The answer as server-sent events, whose fragments find their own places on the page."""
        answer = Answer(f"play_{secrets.token_hex(16)}")
        started = time.perf_counter()
        yield self._event("play_begun.html", answer=answer)
        try:
            with self._door.flight.place():
                async with aclosing(self._pieces(asked, key, answer, started)) as pieces:
                    async for content in pieces:
                        yield content
        except Refused as refused:
            answer.error = refused.message
            answer.decision = answer.decision or Decision("refused", refused.message, asked.model)
        except Exception:
            log.exception("the playground's question failed")
            answer.error = "The gateway failed; its log says why."
        answer.seconds = time.perf_counter() - started
        yield self._event("play_ended.html", answer=answer, may_judge=may(key, "feedback"))

    async def _pieces(
        self, asked: Asked, key: Key, answer: Answer, started: float
    ) -> AsyncGenerator[bytes, None]:
        limits = self._door.limits
        grant = limits.admit(key)
        size = len(asked.system.encode()) + len(asked.question.encode())
        limits.expect(grant, expected_tokens(size, asked.max_tokens, 1))
        count = Count(limits, grant, [expected_tokens(size, None, 1)])
        # A key whose dial is at 0 never asks, whatever is typed.
        dial = key.dial if asked.dial is None or key.dial == 0 else asked.dial
        caller = Caller(
            key=key.id,
            team=key.team,
            dial=dial,
            deadline_ms=asked.deadline_ms,
            request_id=answer.request_id,
            told=partial(count.told, 0),
        )
        seconds = self._door.settings.request_seconds
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until):
                outcome = await self._door.core.answer(ChatRequest(asked.body), caller)
        except TimeoutError:
            raise too_slow(seconds) from None
        except Exception:
            count.refund()
            raise
        assert outcome.chunks is not None, "a stream was asked for"
        async with aclosing(cast("Any", outcome.chunks)) as chunks:
            answer.decision = outcome.decision
            yield self._event("play_decided.html", answer=answer)
            while (chunk := await _next(chunks, until, seconds)) is not None:
                for content in self._shown(orjson.loads(chunk), answer, started):
                    yield content
        if answer.tokens is not None:
            count.note(0, answer.tokens)

    def _shown(self, chunk: Mapping[str, Any], answer: Answer, started: float) -> list[bytes]:
        """What a chunk changes on the page."""
        found = []
        if isinstance(chunk.get("error"), Mapping):
            answer.error = str(chunk["error"].get("message") or "The answer broke off.")
        if isinstance(usage := chunk.get("usage"), Mapping):
            answer.tokens = int(usage.get("total_tokens") or 0)
        if isinstance(told := chunk.get("understudy"), Mapping) and answer.decision:
            known = {name: told[name] for name in Decision.__slots__ if name in told}
            answer.decision = replace(answer.decision, **known)
            found.append(self._event("play_decided.html", answer=answer))
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
            for name in ("reasoning_content", "content", "tool_calls"):
                if text := delta.get(name):
                    if answer.first_seconds is None:
                        answer.first_seconds = time.perf_counter() - started
                    answer.is_empty = False
                    shown = text if isinstance(text, str) else orjson.dumps(text).decode()
                    draft = name == "reasoning_content"
                    found.append(self._event("play_piece.html", text=shown, is_draft=draft))
        return found

    def _event(self, template: str, **values: Any) -> bytes:
        return message(self._templates.render(template, **values).encode())


async def _next(chunks: AsyncIterator[bytes], until: float, seconds: float) -> bytes | None:
    """The next chunk; None: there is no more. No time runs out while the page is written to."""
    try:
        async with asyncio.timeout_at(until):
            return await anext(chunks, None)
    except TimeoutError:
        raise too_slow(seconds) from None
