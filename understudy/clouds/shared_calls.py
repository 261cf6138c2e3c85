"""Calls in flight: several may wait for one; they reserve room in the budget in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from understudy.link import Budget, Hold, Refusal
from understudy.types import Cost, Reply, Request

# Another thread may settle what is held, and this event loop does not learn of it.
_POLL_SECONDS = 0.02


class SharedCall:
    """One call, its reply, and the pieces of its answer as they come.

    The call is a task of its own: whoever waits for it may stop waiting, and it goes on.
    """

    def __init__(
        self, request: Request, make: Callable[[SharedCall], Coroutine[Any, Any, Reply]]
    ) -> None:
        self.request = request
        self.refused = False  # by the budget: no cloud was asked
        self._pieces: list[str] = []
        self._changed = asyncio.Event()
        self.task: asyncio.Task[Reply] = asyncio.create_task(make(self))
        self.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Reply]) -> None:
        if not task.cancelled():
            task.exception()  # or asyncio reports it where several fail and the first one is raised
        self._wake()

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self._wake()

    async def pieces(self) -> AsyncIterator[str]:
        """All pieces, from the first on; ends when the call has."""
        place = 0
        while True:
            changed = self._changed
            while place < len(self._pieces):
                yield self._pieces[place]
                place += 1
            if self.task.done():
                return
            if place == len(self._pieces):
                await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class ReservationQueue:
    """First come, first served: a call that has no room now waits for those before it to settle.

    So whether a question is refused does not depend on which call finishes first.
    """

    def __init__(self) -> None:
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}
        self._changed = asyncio.Event()

    async def reserve(self, budget: Budget, cost: Cost) -> Hold | Refusal:
        async with self._lock():
            while True:
                room = budget.reserve(cost)
                if not isinstance(room, Refusal) or room.final:
                    return room
                self._changed = changed = asyncio.Event()
                try:
                    await asyncio.wait_for(changed.wait(), _POLL_SECONDS)
                except TimeoutError:
                    continue

    def changed(self) -> None:
        """A call was settled."""
        self._changed.set()

    def _lock(self) -> asyncio.Lock:
        """One of each event loop, one after the other."""
        loop = asyncio.get_running_loop()
        if loop not in self._locks:
            self._locks = {loop: asyncio.Lock()}
        return self._locks[loop]
