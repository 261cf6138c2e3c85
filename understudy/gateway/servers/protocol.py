"""uvicorn's connection, with limits on the head of a request: so many bytes, so many seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from understudy.gateway.door.errors import openai_error
from understudy.gateway.requests import Refused


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose head does not arrive in time, or does not end.

    What is left of a body after its answer (a refusal, mostly) is read and dropped for a while: a
    connection that is closed at once loses the answer that the client has not read yet.
    """

    head_seconds = 10.0
    head_bytes = 32 * 2**10
    spare_bytes = 64 * 2**20  # of a body whose answer was sent

    _timer: asyncio.TimerHandle | None = None
    _came = 0  # bytes of what is waited for
    _in_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            if self._timer is None:
                self._wait()
            self._came += len(data)
        super().data_received(data)
        if self._timer is None or self.transport.is_closing():
            return
        if self._in_body:
            if self._came > self.spare_bytes:
                self.transport.close()
        elif self._came > self.head_bytes:
            self._refuse(431, f"the headers are larger than {self.head_bytes} bytes")

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._arrived()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._arrived()
        super().on_message_complete()

    def _wait(self) -> None:
        self._came = 0
        self._timer = self.loop.call_later(self.head_seconds, self._late)

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._came and not self._in_body:
            self._refuse(408, f"the headers did not arrive within {self.head_seconds:g} seconds")
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int, reason: str) -> None:
        self._arrived()
        if self.transport.is_closing():
            return
        words = {408: "Request Timeout", 431: "Request Header Fields Too Large"}[status]
        code = {408: "timeout", 431: "headers_too_large"}[status]
        refused = Refused(status, "invalid_request_error", reason, code=code)
        content = orjson.dumps(openai_error(refused))
        head = (
            f"HTTP/1.1 {status} {words}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()


def bounded_protocol(seconds: float, size: int) -> Any:
    """The class, with its limits."""
    return type("Protocol", (BoundedProtocol,), {"head_seconds": seconds, "head_bytes": size})
