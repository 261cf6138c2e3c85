"""One HTTP request and its answer, as the door follows it from end to end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from understudy.gateway.door.headers import Headers, Pairs
from understudy.gateway.requests import Decision, Refused
from understudy.store.keys import Key

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HUNG_UP = 499  # in the log: the client went away before its answer


@dataclass(slots=True)
class Exchange:
    """What is known of a request so far; whole once it is finished."""

    request_id: str
    method: str
    path: str
    headers: Headers
    route: str = ""  # the path as it is declared, such as /v1/models/{id}; '': none
    started: float = field(default_factory=time.perf_counter)
    key: Key | None = None
    model: str = ""  # as the caller named it
    streamed: bool = False
    question: str = ""  # its last message, where text may be logged
    decision: Decision | None = None
    usage: Mapping[str, Any] | None = None  # OpenAI's, where it is known
    error: str = ""  # the code or the type of a refusal
    refused: Refused | None = None
    asks: bool = False  # it is a question, whoever answers it
    reached_core: bool = False  # which tells of it from then on
    status: int = 0  # 0: no head was sent yet
    first_byte_seconds: float | None = None  # until the answer's first bytes
    seconds: float = 0.0  # until it was finished

    @property
    def turned_away(self) -> Refused | None:
        """Why a question came no further than the door."""
        return self.refused if self.asks and not self.reached_core else None

    @property
    def tokens(self) -> int | None:
        total = (self.usage or {}).get("total_tokens")
        return total if isinstance(total, int) else None


def exchange_of(scope: Scope) -> Exchange:
    found: Exchange = scope["state"]["exchange"]
    return found


async def send_json(
    send: Send, content: Mapping[str, Any], status: int = 200, headers: Pairs | None = None
) -> None:
    await send_bytes(send, orjson.dumps(content), b"application/json", status, headers)


async def send_bytes(
    send: Send, content: bytes, kind: bytes, status: int = 200, headers: Pairs | None = None
) -> None:
    length = str(len(content)).encode()
    pairs = [(b"content-type", kind), (b"content-length", length), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})
