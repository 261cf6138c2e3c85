"""So many at once, the others in a fair queue: for engines that only pass requests on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from understudy.gateway.engine import EngineBusy
from understudy.gateway.engine.fair import FairQueue


class Places:
    """rows: how many run at once; waiting: how many more may wait. For one event loop."""

    def __init__(self, rows: int, waiting: int) -> None:
        self.rows, self.running = rows, 0
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue(waiting)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def place(self, key: str) -> AsyncIterator[None]:
        """Wait for a place and hold it; raises EngineBusy where nobody more may wait."""
        if self.running >= self.rows or self._queue.first() is not None:
            await self._wait(key)
        else:
            self.running += 1
        try:
            yield
        finally:
            self._next()

    async def _wait(self, key: str) -> None:
        if self._queue.full:
            raise EngineBusy(f"{self.waiting} requests wait for the local engine already", 1.0)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.add(key, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not self._queue.remove(key, turn):
                self._next()  # its turn had come
            raise

    def _next(self) -> None:
        """Hand a place to the next, or take it back."""
        turn = self._queue.take()
        while turn is not None and turn.done():
            turn = self._queue.take()
        if turn is None:
            self.running -= 1
        else:
            turn.set_result(None)
