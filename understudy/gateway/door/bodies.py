"""Bodies of requests: so large, so deep, so slow and no more; JSON in UTF-8, perhaps compressed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from understudy.gateway.door.errors import invalid
from understudy.gateway.door.headers import Headers, plain
from understudy.gateway.door.settings import DoorSettings
from understudy.gateway.requests import Refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SQUARE = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


_UTF8 = ("charset=utf-8", "charset=utf8")
_REST_BYTES, _REST_SECONDS = 64 * 2**20, 10.0  # of a body that is refused


class HungUpError(Exception):
    """The client went away."""


class Arriving:
    """A request as it arrives. whole: all of its body was received."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.whole = self._begun = False

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._begun = True
        self.whole = not message.get("more_body", False)
        return message

    async def drop_rest(self, headers: Headers) -> None:
        """Receive the rest of a body that nobody reads: a connection that is closed before its
        client has sent everything loses the refusal. Clients that wait to be told to go on have
        sent nothing yet."""
        if self.whole or (headers.text("expect") and not self._begun):
            return
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REST_SECONDS):
                while not self.whole and size < _REST_BYTES:
                    size += len((await self()).get("body", b""))


async def read_json(
    headers: Headers, receive: Receive, settings: DoorSettings
) -> tuple[dict[str, Any], bytes]:
    """The body of a request as a JSON object, and as its bytes."""
    _check_kind(headers)
    raw = await _read(headers, receive, settings)
    raw = _unpacked(raw, headers.text("content-encoding").lower(), settings.max_body_bytes)
    try:
        body = orjson.loads(raw)
    except (orjson.JSONDecodeError, RecursionError) as error:
        reason = plain(str(error))[:200]
        raise invalid(f"the body is not valid JSON: {reason}", code="invalid_json") from None
    if is_deeper(raw, settings.max_json_depth):
        raise invalid(
            f"the body is nested deeper than {settings.max_json_depth} levels", code="too_deep"
        )
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object", code="invalid_json")
    return body, raw


def _check_kind(headers: Headers) -> None:
    """JSON says that it is JSON. So a page of another origin cannot post here unasked: a browser
    sends that content type only after the gateway allowed it."""
    kind, _, parameters = headers.text("content-type").lower().partition(";")
    kind, given = kind.strip(), [each.strip() for each in parameters.replace('"', "").split(";")]
    if kind != "application/json" and not (kind.startswith("application/") and "+json" in kind):
        shown = plain(kind)[:80] or "none"
        raise Refused(
            415,
            "invalid_request_error",
            f"content-type is {shown}; send application/json",
            code="unsupported_media_type",
        )
    if any(each.startswith("charset") and each not in _UTF8 for each in given):
        raise Refused(
            415,
            "invalid_request_error",
            "the body must be in UTF-8",
            code="unsupported_media_type",
        )


async def _read(headers: Headers, receive: Receive, settings: DoorSettings) -> bytes:
    most = settings.max_body_bytes
    said = headers.text("content-length")
    if said.isascii() and said.isdigit() and int(said[:20]) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HungUpError
                part = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Refused(
            408,
            "timeout_error",
            f"the body did not arrive within {settings.body_seconds:g} seconds",
            code="timeout",
        ) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unpacked(raw: bytes, encoding: str, most: int) -> bytes:
    """What a compressed body holds, no more of it than a body may have."""
    if encoding in ("", "identity"):
        return raw
    if encoding not in _WINDOWS:
        raise Refused(
            415,
            "invalid_request_error",
            f"content-encoding is {plain(encoding)[:40]}; use gzip, deflate or none",
            code="unsupported_encoding",
        )
    reader = zlib.decompressobj(_WINDOWS[encoding])
    try:
        content = reader.decompress(raw, most + 1)
    except zlib.error:
        raise invalid(f"the body is not valid {encoding}", code="invalid_encoding") from None
    if len(content) > most:
        raise _too_large(most)
    if not reader.eof or reader.unused_data:
        raise invalid(f"the body is not one whole {encoding} stream", code="invalid_encoding")
    return content


def _too_large(most: int) -> Refused:
    return Refused(
        413,
        "invalid_request_error",
        f"the body is larger than {most} bytes",
        code="request_too_large",
    )


def is_deeper(raw: bytes, most: int) -> bool:
    """Whether valid JSON is nested deeper than so many levels.

    Without its strings, each pass over the brackets takes the innermost pairs away: as many passes
    as it has levels, none of them in Python.
    """
    if raw.count(b"[") + raw.count(b"{") <= most:
        return False
    brackets = _STRINGS.sub(b"", raw).translate(_SQUARE, _OTHERS)
    for _ in range(most):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)
