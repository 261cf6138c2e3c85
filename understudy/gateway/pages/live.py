"""What is live: server-sent events, computed once for everyone who watches the same span."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import orjson

from understudy.errors import LedgerUnavailable
from understudy.gateway.door.pulse import COMMENT
from understudy.gateway.pages.dashboard import Dashboard
from understudy.gateway.pages.history import SPANS, Span
from understudy.gateway.pages.overview import Overview, charts, look
from understudy.gateway.pages.templates import Templates

MOST_WATCHING = 100
_QUIET_SECONDS = 15.0  # after so long without news a comment shows that the line is up
_LOOK_SECONDS = 0.25  # how often a stream looks whether the gateway stops

log = logging.getLogger(__name__)


def message(data: bytes, event: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n".encode() if event else b""
    return head + b"".join(b"data: " + line + b"\n" for line in data.splitlines()) + b"\n"


@dataclass(slots=True)
class _Frame:
    """What was sent last to those who watch a span."""

    at: float = float("-inf")  # by the monotonic clock
    found: Overview | None = None
    content: bytes = b""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Live:
    def __init__(self, dashboard: Dashboard, templates: Templates) -> None:
        self.watching = 0
        self._dashboard, self._templates = dashboard, templates
        self._frames = {name: _Frame() for name in SPANS}

    async def overview(self, span: Span) -> Overview:
        """As it was a moment ago."""
        frame = await self._frame(span)
        assert frame.found is not None
        return frame.found

    async def watch(
        self, span: Span, may_go_on: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[bytes, None]:
        """Until the client goes away, the gateway stops, or whoever watches may no longer."""
        self.watching += 1
        sent, sent_at = b"", 0.0
        try:
            yield b"retry: 2000\n\n"
            while not self._dashboard.is_closing:
                content = await self._content(span)
                now = time.monotonic()
                if content != sent:
                    yield content
                    sent, sent_at = content, now
                elif now - sent_at > _QUIET_SECONDS:
                    yield COMMENT
                    sent_at = now
                await self._sleep(span.refresh)
                if not await may_go_on():
                    return
        finally:
            self.watching -= 1

    async def _content(self, span: Span) -> bytes:
        try:
            return (await self._frame(span)).content
        except LedgerUnavailable as error:
            log.warning("the dashboard cannot read the events: %s", error)
            return message(b"The events cannot be read now.", "trouble")

    async def _frame(self, span: Span) -> _Frame:
        frame = self._frames[span.name]
        async with frame.lock:
            if time.monotonic() - frame.at > 0.9 * span.refresh:
                frame.found = await look(self._dashboard, span)
                frame.content = self._written(frame.found)
                frame.at = time.monotonic()
        return frame

    def _written(self, found: Overview) -> bytes:
        page = self._templates.render("live.html", found=found, now=found.history.now)
        return message(page.encode()) + message(orjson.dumps(charts(found)), "charts")

    async def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._dashboard.is_closing and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _LOOK_SECONDS))
