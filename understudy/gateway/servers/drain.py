"""Stopping well: what runs ends, what is new is told to go elsewhere, then the server ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator

from understudy.gateway.door import log
from understudy.gateway.door.door import Door

OnReady = Callable[[str], None]  # told the address once the server listens

_LAST_SECONDS = 5  # for what is cut off to settle what it spent
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Drain:
    """end: ends the server; its argument says whether at once."""

    def __init__(self, door: Door, end: Callable[[bool], None]) -> None:
        self._door, self._end = door, end
        self._task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """The first time it drains, then it ends; the second time it ends at once."""
        if self._task is not None:
            log.event("stopping at once", logging.WARNING)
            self._task.cancel()
            self._end(True)
            return
        self._door.flight.drain()
        log.event("draining", running=self._door.flight.running)
        self._task = asyncio.create_task(self._drained())

    async def _drained(self) -> None:
        flight = self._door.flight
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._door.settings.drain_seconds):
                await flight.landed()
        if flight.running:
            log.event("cutting off", logging.WARNING, running=flight.running)
            flight.cut()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await flight.landed()
        log.event("drained")
        self._end(False)

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within, SIGTERM and Ctrl-C drain. They are not raised again: that is no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
