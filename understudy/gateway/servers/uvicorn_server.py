"""uvicorn, which goes on listening while it drains, so that nobody meets a closed port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn

from understudy.gateway.door import log
from understudy.gateway.door.door import Door
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.servers.bound import BoundServer
from understudy.gateway.servers.drain import Drain, OnReady
from understudy.gateway.servers.protocol import bounded_protocol

if TYPE_CHECKING:
    from starlette.applications import Starlette

_KEEP_ALIVE = 75  # seconds that an idle connection stays: longer than a proxy keeps its own
_LAST_SECONDS = 2  # for connections to close; what ran has ended


def run(app: Starlette, door: Door, on_ready: OnReady | None = None) -> None:
    server = UvicornServer(app, door, on_ready)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve())


class UvicornServer(BoundServer):
    def __init__(self, app: Starlette, door: Door, on_ready: OnReady | None = None) -> None:
        super().__init__(_config(app, door.settings), door.settings.where)
        self._settings, self._on_ready = door.settings, on_ready
        self.drain = Drain(door, self._end)
        self._signals = contextlib.ExitStack()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self._signals.enter_context(self.drain.on_signals())
        url = self._settings.address(self.port)
        log.event("listening", address=url)
        if self._on_ready is not None:
            self._on_ready(url)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Before it listens a signal ends the process at once: nothing is to be finished then."""
        with self._signals:
            yield

    def _end(self, at_once: bool) -> None:
        self.should_exit, self.force_exit = True, at_once


def _config(app: Starlette, settings: DoorSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=bounded_protocol(settings.head_seconds, settings.max_header_bytes),
        loop="auto",  # uvloop where it is installed
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        log_level=logging.CRITICAL,  # ours says what there is to say
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies) or None,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_SECONDS,
        backlog=2048,
    )
