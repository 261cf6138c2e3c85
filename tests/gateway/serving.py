"""The gateway on a real socket, in a thread of the test."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.routing import BaseRoute

from tests.gateway.echo import EchoCore
from understudy.gateway.app import create_app
from understudy.gateway.door.door import Door
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.servers.uvicorn_server import UvicornServer

WAIT = 60.0  # seconds, on a busy machine


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@dataclass
class Served:
    """What a test sees of the gateway."""

    url: str
    port: int
    door: Door
    core: EchoCore
    server: UvicornServer
    loop: asyncio.AbstractEventLoop

    def call(self, function: Any, *arguments: Any) -> None:
        """Run something in the gateway's own loop."""
        self.loop.call_soon_threadsafe(function, *arguments)


@contextmanager
def serving(
    settings: dict[str, Any] | None = None,
    pages: Callable[[Door], Sequence[BaseRoute]] = lambda door: (),
    **parts: Any,
) -> Iterator[Served]:
    """A gateway over the core that repeats. pages: more routes. parts: of the door."""
    given = DoorSettings.model_validate({"port": 0, "log_requests": False} | (settings or {}))
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def run() -> None:
        core = EchoCore()
        door = Door(core, given, **parts)
        server = UvicornServer(create_app(door, pages(door)), door, lambda url: ready.set())
        found.update(core=core, door=door, server=server, loop=asyncio.get_running_loop())
        try:
            await server.serve()
        finally:
            ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(WAIT)
    server = found["server"]
    assert server.started
    port = server.port
    served = Served(given.address(port), port=port, **found)
    try:
        yield served
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            served.call(setattr, server, "should_exit", True)
        thread.join(WAIT)
        assert not thread.is_alive()
