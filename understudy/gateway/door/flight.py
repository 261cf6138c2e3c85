"""Requests that are being answered: how many there may be, and their end when the gateway stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from understudy.gateway.requests import Refused

_SECONDS = 1.0  # after which a place may well be free


class Flight:
    """Counts the requests in flight. Once it drains, no more are let in."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = 0
        self.draining = False
        self.cut_off = False  # what ran too long while it drained was cancelled
        self._tasks: set[asyncio.Task[object]] = set()
        self._landed = asyncio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those in flight, or Refused."""
        if self.draining:
            raise closing()
        if self.running >= self.most:
            raise Refused(
                429,
                "rate_limit_error",
                f"the gateway is answering {self.running} requests, as many as it may",
                code="too_many_requests",
                retry_after=_SECONDS,
            )
        task = asyncio.current_task()
        assert task is not None
        self.running += 1
        self._tasks.add(task)
        try:
            yield
        finally:
            self.running -= 1
            self._tasks.discard(task)
            if not self.running:
                self._landed.set()

    def drain(self) -> None:
        self.draining = True

    def cut(self) -> None:
        """Cancel whatever is still in flight."""
        self.cut_off = True
        for task in self._tasks:
            task.cancel()

    async def landed(self) -> None:
        """Wait until nothing is in flight."""
        while self.running:
            self._landed.clear()
            await self._landed.wait()


def cut_off() -> Refused:
    """What an answer that did not end in time is told."""
    message = "the gateway stopped before this answer was whole"
    return Refused(503, "server_error", message, code="cut_off", retry_after=_SECONDS)


def closing() -> Refused:
    """What a new request is told while the gateway stops."""
    return Refused(
        503,
        "server_error",
        "the gateway is stopping; another replica, or this one after its restart, will answer",
        code="draining",
        retry_after=_SECONDS,
    )
