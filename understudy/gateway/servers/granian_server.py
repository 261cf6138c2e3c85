"""granian, embedded: the same application on a server written in Rust."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from understudy.errors import ConfigError
from understudy.gateway.door import log
from understudy.gateway.door.door import Door
from understudy.gateway.servers.drain import Drain, OnReady
from understudy.gateway.servers.listening import bound_sockets

if TYPE_CHECKING:
    from starlette.applications import Starlette

_LEAST_BUFFER = 8192  # bytes; granian takes no less
_LAST_SECONDS = 2
_THREADS_SECONDS = 0.5  # until its threads have ended: they must not outlive the interpreter


def run(app: Starlette, door: Door, on_ready: OnReady | None = None) -> None:
    settings = door.settings
    if settings.port == 0:
        raise ConfigError("port=0: granian cannot say which port it took; give one")
    if settings.trusted_proxies:
        raise ConfigError("trusted_proxies: only server=uvicorn reads X-Forwarded headers")
    for each in bound_sockets(settings.host, settings.port, settings.where):
        each.close()  # granian does not say why it cannot listen
    server = Server(
        app,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        backpressure=settings.max_in_flight * 2,  # our own limit answers first
        http1_settings=HTTP1Settings(
            header_read_timeout=int(settings.head_seconds * 1000),
            max_buffer_size=max(_LEAST_BUFFER, settings.max_header_bytes * 2),
        ),
        log_enabled=False,
        ssl_cert=settings.tls_certificate,
        ssl_key=settings.tls_key,
    )
    server.workers_kill_timeout = _LAST_SECONDS
    asyncio.run(_serve(server, door, on_ready))


async def _serve(server: Server, door: Door, on_ready: OnReady | None) -> None:
    drain = Drain(door, lambda at_once: server.stop())
    running = asyncio.create_task(server.serve())
    url = door.settings.address(door.settings.port)
    await _listening(door, running)
    with drain.on_signals():
        log.event("listening", address=url)
        if on_ready is not None:
            on_ready(url)
        await running
        await asyncio.sleep(_THREADS_SECONDS)


async def _listening(door: Door, running: asyncio.Task[None]) -> None:
    """Wait until the port answers, or the server has failed."""
    host = "127.0.0.1" if door.settings.host == "0.0.0.0" else door.settings.host
    while not running.done():
        try:
            _, writer = await asyncio.open_connection(host, door.settings.port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    await running
