"""Runs the gateway on a server until it is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.errors import ConfigError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from understudy.gateway.door.door import Door
    from understudy.gateway.servers.drain import OnReady


def serve(app: Starlette, door: Door, on_ready: OnReady | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    After the first signal running answers have `drain_seconds` to end, /ready and whatever is new
    is told 503; a second signal ends everything at once.
    """
    from understudy.gateway.door import log

    check_exposure(door)
    log.log_to()
    if door.settings.server == "granian":
        from understudy.gateway.servers.granian_server import run
    else:
        from understudy.gateway.servers.uvicorn_server import run
    run(app, door, on_ready)


def check_exposure(door: Door) -> None:
    """Refuse to stand open to a network by oversight."""
    settings = door.settings
    if door.keys is None and settings.keys != "off" and not settings.is_loopback:
        raise ConfigError(
            f"host={settings.host}: anyone who reaches it could spend your budget; make a key "
            "with `understudy keys create`, or set keys=off and hosts"
        )
    for path in (settings.tls_certificate, settings.tls_key):
        if path is not None and not path.is_file():
            raise ConfigError(f"{path}: there is no such file; TLS needs it")
