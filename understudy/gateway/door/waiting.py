"""Work for a client ends when the client goes away."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from understudy.gateway.door.bodies import HungUpError
from understudy.gateway.door.exchange import Receive


class WhileConnected:
    """Within, this task is cancelled once the client hangs up; it comes out as HungUpError.

    The whole body must have been read before.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watch = asyncio.create_task(self._listen())
        return self

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()

    def release(self) -> None:
        """The answer is about to be whole: nothing is left to be cancelled."""
        self._watch.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.cancel()
        if self._gone:
            self._task.uncancel()
            if kind is None or issubclass(kind, asyncio.CancelledError):
                raise HungUpError from error
