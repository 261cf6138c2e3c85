"""Coroutines, waited for by code that is not asynchronous, in a notebook too."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class Waiter:
    """Runs coroutines on an event loop of its own, which stays open until `close`.

    Where this thread has a running event loop already, as in a notebook, the coroutine runs in
    another thread while this one waits.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        if self._runner is None:
            self._runner = asyncio.Runner()
        if not _in_event_loop():
            return self._runner.run(coroutine)
        with ThreadPoolExecutor(1) as thread:
            future = thread.submit(self._runner.run, coroutine)
            try:
                return future.result()
            except KeyboardInterrupt:  # it came to this thread; the other one must end, too
                loop = self._runner.get_loop()
                loop.call_soon_threadsafe(_cancel_all, loop)
                raise

    def close(self) -> None:
        """Close the event loop, and with it the connections it holds."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        if not _in_event_loop():
            runner.close()
            return
        with ThreadPoolExecutor(1) as thread:
            thread.submit(runner.close).result()


def wait_for(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """One coroutine, on an event loop that closes after it."""
    with Waiter() as waiter:
        return waiter.wait(coroutine)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
