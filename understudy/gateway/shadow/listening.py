"""Shadow mode in front of live traffic: the server, and what it starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from understudy.errors import ConfigError
from understudy.gateway.opening import engine_of
from understudy.gateway.servers.bound import BoundServer
from understudy.gateway.shadow.passing import Passing
from understudy.gateway.shadow.settings import ShadowSettings
from understudy.gateway.shadow.watching import Warn, Watching

_KEEP_ALIVE = 75  # seconds that an idle connection of a client stays
_LAST_SECONDS = 60  # for answers that are on their way when it ends
_MOST_RUNNING = 4  # local answers at once, beside the traffic


def address_of(text: str) -> tuple[str, int]:
    """HOST:PORT, or a port alone on this machine.

    >>> address_of("8100"), address_of("0.0.0.0:80"), address_of("[::1]:80")
    (('127.0.0.1', 8100), ('0.0.0.0', 80), ('::1', 80))
    """
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen {text}: write HOST:PORT, or a port alone")
    return host.strip("[]") or "127.0.0.1", int(port)


def beside_traffic(settings: ShadowSettings) -> ShadowSettings:
    """The local model takes one thread and few places, unless it is told otherwise."""
    if not settings.prices:
        raise ConfigError(
            "--listen: live answers do not say what they cost; give --cloud-prices, 0/0 where the "
            "cloud is free"
        )
    local = settings.local
    most = min(local.max_running, _MOST_RUNNING)
    own = local.model_copy(update={"threads": local.threads or 1, "max_running": most})
    return settings.model_copy(update={"local": own})


def listen(
    settings: ShadowSettings,
    cloud: str,
    address: tuple[str, int],
    out: Path,
    warn: Warn,
    on_ready: Callable[[str], None],
) -> Watching:
    """Passes traffic until SIGTERM or Ctrl-C; then what was found can be reported."""
    watching = Watching(beside_traffic(settings), out, warn)
    passing = Passing(cloud, watching.copy)
    server = _Server(app_of(passing, watching), address, on_ready)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve())
    return watching


def app_of(passing: Passing, watching: Watching) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            engine = await engine_of(watching.settings.local)
        except Exception as error:
            app.state.failure = error
            raise
        await passing.open()
        watching.start(engine)
        try:
            yield
        finally:
            await watching.close()
            await engine.close()
            await passing.close()

    return Starlette(routes=[Mount("/", app=passing)], lifespan=lifespan)


class _Server(BoundServer):
    def __init__(
        self, app: Starlette, address: tuple[str, int], on_ready: Callable[[str], None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=address[0],
                port=address[1],
                ws="none",
                lifespan="on",
                interface="asgi3",
                log_config=None,
                log_level=logging.CRITICAL,
                access_log=False,
                server_header=False,
                date_header=False,  # the cloud's own is passed on
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_LAST_SECONDS,
            ),
            f"--listen {address[0]}:{address[1]}",
        )
        self._app, self._host, self._on_ready = app, address[0], on_ready

    async def startup(self, sockets: Any = None) -> None:
        try:
            await super().startup(sockets)
        except ConfigError:
            failure: Exception | None = getattr(self._app.state, "failure", None)
            if failure is not None:
                raise failure from None
            raise
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._on_ready(f"http://{host}:{self.port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal lets answers end, the second ends at once. Neither is raised again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
