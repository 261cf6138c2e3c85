"""Questions are posted over connections that are kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from understudy.gateway.upstreams.calls import LATE, UpstreamError
from understudy.gateway.upstreams.refusal import reason_of

# Common servers close a connection that was idle for 5 seconds; one that was idle for longer than
# this is not used again.
_KEEP_ALIVE_SECONDS = 4.0

_BROKEN = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientConnectionResetError,
    aiohttp.ClientOSError,
)
_TRIES = 5  # a server that starts anew gives up all kept connections at once
_STALE_SECONDS = 1.0  # a kept connection that the other side gave up breaks this soon


def open_session(timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """Within the event loop that posts."""
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        trace_configs=[tracing],
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def posted(
    session: aiohttp.ClientSession,
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    proxy: str | None,
) -> aiohttp.ClientResponse:
    """The head of a response. Sent again only where a kept connection broke at once: the other side
    had given it up, and began no answer. It may have given up several. Raises UpstreamError."""
    for tries_left in reversed(range(_TRIES)):
        started, about = time.monotonic(), _Sent()
        try:
            return await session.post(
                url,
                data=content,
                headers=headers,
                proxy=proxy,
                allow_redirects=False,  # a key goes where its owner sent it
                trace_request_ctx=about,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UpstreamError(f"no connection: {reason_of(error)}") from None
        except _BROKEN:
            soon = time.monotonic() - started < _STALE_SECONDS
            if not (tries_left and about.reused and soon):
                raise UpstreamError("it closed the connection", billed=None) from None
        except TimeoutError:
            raise UpstreamError(LATE, billed=None) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UpstreamError(f"no answer: {reason_of(error)}", billed=None) from None
    raise AssertionError("the last try returns or raises")


class _Sent:
    """What is known of a request that was sent."""

    reused = False  # over a connection that was kept


async def _note_reuse(session: aiohttp.ClientSession, context: Any, params: Any) -> None:
    if isinstance(context.trace_request_ctx, _Sent):
        context.trace_request_ctx.reused = True
