"""Live traffic passed through: requests go on and answers come back byte for byte, and a copy of
each chat completion is told of once its answer has ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import aiohttp
import orjson
from yarl import URL

from understudy.clouds.endpoint import chat_url
from understudy.clouds.http import proxy_for
from understudy.gateway.door.exchange import Receive, Scope, Send

_CHAT = "/chat/completions"
_MOST_ASKED = 8 * 2**20  # bytes of a question that is copied
_MOST_ANSWERED = 8 * 2**20
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 900.0
_KEEP_ALIVE_SECONDS = 4.0  # common servers close a connection that was idle for 5

# Of one connection, and not of the answer that it carries.
_OF_CONNECTION = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"),
        *(b"trailer", b"trailers", b"transfer-encoding", b"upgrade", b"proxy-connection"),
    }
)
_OURS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # aiohttp would add them


@dataclass(frozen=True, slots=True)
class Copied:
    """A chat completion that has passed."""

    at: float  # seconds since 1970
    seconds: float
    asked: bytes
    status: int
    type: str  # of the answer's content
    encoding: str  # as gzip; "": none
    answered: bytes
    whole: bool  # nobody hung up, and it was not too long to copy


class Passing:
    """An ASGI application. told: of each copy; it must not wait."""

    def __init__(self, base_url: str, told: Callable[[Copied], None]) -> None:
        self._base = chat_url(base_url, "--cloud").removesuffix(_CHAT)
        self._told = told
        self._proxy = proxy_for(self._base)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_OURS,
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope)
        try:
            body = await exchange.body(receive)
        except _GoneError:
            return
        passes = asyncio.create_task(self._pass(exchange, body, send))
        gone = asyncio.create_task(_gone(receive)) if not exchange.reads else None
        try:
            await asyncio.wait(
                {passes} | ({gone} if gone else set()), return_when="FIRST_COMPLETED"
            )
        finally:
            for task in (passes, gone):
                if task is not None and not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
        if exchange.copies:
            self._told(exchange.copied())
        if passes.done() and not passes.cancelled():
            passes.result()

    async def _pass(
        self, exchange: _Exchange, body: bytes | AsyncIterator[bytes] | None, send: Send
    ) -> None:
        assert self._session is not None, "it is open"
        try:
            response = await self._session.request(
                exchange.scope["method"],
                URL(exchange.url(self._base), encoded=True),
                data=body,
                headers=exchange.headers(),
                proxy=self._proxy,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            await _send_failure(send, error)
            return
        try:
            exchange.begin(response)
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status,
                    "headers": _kept(response.raw_headers),
                }
            )
            async for piece in response.content.iter_any():
                exchange.note(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            exchange.ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            response.release() if exchange.ended else response.close()


class _GoneError(Exception):
    """The client hung up."""


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._heads: list[tuple[bytes, bytes]] = list(scope["headers"])
        path = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        self._path = path.removeprefix("/v1")
        size = dict(self._heads).get(b"content-length", b"")
        fits = not size or (size.isdigit() and int(size) <= _MOST_ASKED)
        self.copies = scope["method"] == "POST" and path.endswith(_CHAT) and fits
        self.reads = False  # the body is still being read while it is passed on
        self.ended = False
        self._at, self._started = time.time(), time.perf_counter()
        self._asked, self._answered = b"", bytearray()
        self._status, self._type, self._encoding = 0, "", ""

    def url(self, base: str) -> str:
        query = self.scope["query_string"].decode("ascii", "replace")
        return f"{base}{self._path}" + (f"?{query}" if query else "")

    def headers(self) -> list[tuple[str, str]]:
        """The client's own, its key among them."""
        left = {*_OF_CONNECTION, b"host", b"expect"} | (
            set() if self.reads else {b"content-length"}
        )
        return [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._heads
            if name not in left
        ]

    async def body(self, receive: Receive) -> bytes | AsyncIterator[bytes] | None:
        """Whole where it is copied, else piece by piece; None: there is none."""
        names = dict(self._heads)
        if b"content-length" not in names and b"transfer-encoding" not in names:
            return None
        if not self.copies:
            self.reads = True
            return _pieces(receive)
        parts = [piece async for piece in _pieces(receive)]
        self._asked = b"".join(parts)
        self.copies = len(self._asked) <= _MOST_ASKED
        return self._asked

    def begin(self, response: aiohttp.ClientResponse) -> None:
        self._status, self._type = response.status, response.content_type
        self._encoding = response.headers.get("content-encoding", "")

    def note(self, piece: bytes) -> None:
        if self.copies and len(self._answered) <= _MOST_ANSWERED:
            self._answered += piece

    def copied(self) -> Copied:
        seconds = time.perf_counter() - self._started
        whole = self.ended and len(self._answered) <= _MOST_ANSWERED
        return Copied(
            self._at,
            seconds,
            self._asked,
            self._status,
            self._type,
            self._encoding,
            bytes(self._answered),
            whole,
        )


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _kept(heads: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in heads if name.lower() not in _OF_CONNECTION]


async def _send_failure(send: Send, error: BaseException) -> None:
    """There is no answer to pass on."""
    message = f"the cloud cannot be reached: {type(error).__name__}"
    content = orjson.dumps(
        {"error": {"message": message, "type": "upstream_error", "code": None, "param": None}}
    )
    heads = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 502, "headers": heads})
    await send({"type": "http.response.body", "body": content, "more_body": False})
