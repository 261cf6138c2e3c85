"""Comments in a stream that is silent, so that no proxy takes it for dead and cuts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from understudy.gateway.door.exchange import Exchange, Send
from understudy.gateway.door.headers import Pairs, decision_headers
from understudy.gateway.requests import Decision

COMMENT = b": still here\n\n"
_HEAD: Pairs = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would collect it otherwise
]


class Pulse:
    """Where a stream's events go: the head first, and a comment after so long without any.

    A draft that is held back may be silent for long before it is known who answers. Then the head
    goes with the first comment, and says so; a later comment has what it could not say.
    """

    def __init__(self, exchange: Exchange, send: Send, seconds: float) -> None:
        self._exchange, self._send, self._seconds = exchange, send, seconds
        self._lock = asyncio.Lock()
        self._at = asyncio.get_running_loop().time()

    async def send(self, event: bytes) -> None:
        async with self._lock:
            if not self._exchange.status:
                head = {"type": "http.response.start", "status": 200, "headers": [*_HEAD]}
                await self._send(head)
            await self._send({"type": "http.response.body", "body": event, "more_body": True})
            self._at = asyncio.get_running_loop().time()

    async def decided(self, decision: Decision) -> None:
        """It is known who answers."""
        self._exchange.decision = decision
        if self._exchange.status:
            lines = [b": %b: %b\n" % pair for pair in decision_headers(decision)]
            await self.send(b"".join(lines) + b"\n")

    @contextmanager
    def beating(self) -> Iterator[None]:
        task = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            task.cancel()

    async def _beat(self) -> None:
        clock, exchange = asyncio.get_running_loop().time, self._exchange
        while True:
            silent = clock() - self._at
            if silent < self._seconds:
                await asyncio.sleep(self._seconds - silent)
                continue
            if exchange.decision is None:
                why = "it is not known yet who answers"
                exchange.decision = Decision("undecided", why, exchange.model)
            try:
                await self.send(COMMENT)
            except OSError:  # the client went away, which whoever answers it notices too
                return


async def kept_alive(
    events: AsyncGenerator[bytes, None], seconds: float
) -> AsyncGenerator[bytes, None]:
    """The events, and a comment whenever there was none for so long.

    They are read in a task of their own, which ends with whoever reads along.
    """
    came: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def read() -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    came.put_nowait(event)
        finally:
            came.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while True:
            try:
                async with asyncio.timeout(seconds):
                    event = await came.get()
            except TimeoutError:
                event = COMMENT
            if event is None:
                break
            yield event
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
