"""The addresses that a server will listen on, taken before a model is loaded in vain."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from understudy.errors import ConfigError

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a name may have addresses of other families
_HINTS = {
    errno.EADDRINUSE: "is another program there? use another port, such as 8001",
    errno.EADDRNOTAVAIL: "use an address of this machine, or 0.0.0.0 for all that it has",
    errno.EACCES: "ports below 1024 are for root; use a larger one",
}


def bound_sockets(host: str, port: int, where: str) -> list[socket.socket]:
    """One for each address of the host. Nobody can connect before a server listens on them.

    where: how the user named them, for the refusal.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise cannot_listen(where, error) from None
    made: list[socket.socket] = []
    failure = OSError("it has no address")
    with closed_on_failure(made):
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                made.append(_bound(socket.socket(family, kind, protocol), address))
            except OSError as error:
                failure = error
                if error.errno not in _NOT_HERE:
                    break
        else:
            if made:
                return made
        raise cannot_listen(where, failure) from None


def _bound(one: socket.socket, address: Any) -> socket.socket:
    with closed_on_failure([one]):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    return one


@contextmanager
def closed_on_failure(sockets: list[socket.socket]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for each in sockets:
            each.close()
        raise


def cannot_listen(where: str, error: Exception) -> ConfigError:
    """With the system's own reason."""
    reason = getattr(error, "strerror", None) or str(error)
    hint = _HINTS.get(getattr(error, "errno", None) or 0, "")
    return ConfigError(f"{where}: cannot listen there ({reason}){'; ' if hint else ''}{hint}")
