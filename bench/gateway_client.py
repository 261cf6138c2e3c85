"""Clients that cost little themselves: one call after the other with its times, or many at once."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import dataclass
from typing import Any

_CHUNKED_END = b"0\r\n\r\n"


def body_of(size: int, *, stream: bool = False, **more: Any) -> bytes:
    """A question whose JSON has so many bytes."""
    body: dict[str, Any] = {"model": "cloud", "messages": [{"role": "user", "content": ""}], **more}
    if stream:
        body["stream"] = True
    missing = size - len(json.dumps(body))
    body["messages"][0]["content"] = ("tell me all " * (missing // 12 + 1))[: max(missing, 1)]
    return json.dumps(body).encode()


def request_of(body: bytes, key: str = "") -> bytes:
    """A whole request, as it goes over the socket."""
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    if key:
        lines.append(f"authorization: Bearer {key}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def is_whole(answer: bytes | bytearray) -> bool:
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    lines = bytes(answer[:head]).lower().split(b"\r\n")
    for line in lines:
        if line.startswith(b"content-length:"):
            return len(answer) >= head + 4 + int(line.partition(b":")[2])
    return answer.endswith(_CHUNKED_END)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one call, by the clock on the wall."""

    first: float  # until the first bytes of a stream's first event, or of the body
    whole: float


class Sequential:
    """One call after the other over one connection, on a blocking socket: nothing else runs."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port, self.request = port, request
        self._socket: socket.socket | None = None

    def call(self) -> Times:
        """Again, from the beginning, where the server had let go of an idle connection."""
        try:
            return self._call()
        except (ConnectionError, TimeoutError):
            self.close()
            return self._call()

    def _call(self) -> Times:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), 60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer, first = bytearray(), 0.0
        started = time.perf_counter()
        self._socket.sendall(self.request)
        while not is_whole(answer):
            piece = self._socket.recv(65536)
            if not piece:
                raise ConnectionResetError
            answer += piece
            if not first and len(answer) > answer.find(b"\r\n\r\n") + 4 > 3:
                first = time.perf_counter() - started
        whole = time.perf_counter() - started
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"port {self.port}: {bytes(answer[:600])!r}")
        return Times(first or whole, whole)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Lane(asyncio.Protocol):
    """A connection that sends the next request as soon as the last is answered."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.answer = bytearray()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if is_whole(self.answer):
            self.load.done += 1
            self.load.failures += not self.answer.startswith(b"HTTP/1.1 200")
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.load.lane_ended.done():
            broken = ConnectionResetError("a connection was lost under load")
            self.load.lane_ended.set_exception(error or broken)

    def _next(self) -> None:
        load = self.load
        if load.left:
            load.left -= 1
            self.answer = bytearray()
            self.transport.write(load.request)
        elif load.done == load.count and not load.lane_ended.done():
            load.lane_ended.set_result(None)


class Load:
    """So many requests, so many of them at once."""

    def __init__(self, port: int, request: bytes, count: int, at_once: int) -> None:
        self.port, self.request, self.count, self.at_once = port, request, count, at_once
        self.left, self.done, self.failures = count, 0, 0

    async def run(self) -> float:
        """Seconds that it took."""
        loop = asyncio.get_running_loop()
        self.lane_ended: asyncio.Future[None] = loop.create_future()
        started = time.perf_counter()
        lanes = [
            await loop.create_connection(lambda: Lane(self), "127.0.0.1", self.port)
            for _ in range(min(self.at_once, self.count))
        ]
        await self.lane_ended
        seconds = time.perf_counter() - started
        for transport, _ in lanes:
            transport.close()
        return seconds
