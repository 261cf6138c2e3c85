"""A call to an upstream, its answer on the way, and why there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.types import Cost


@dataclass(frozen=True, slots=True)
class Call:
    """One question on its way to an upstream."""

    body: Mapping[str, Any]  # OpenAI's chat completion; the upstream puts its model's name in
    request_id: str  # goes along as x-client-request-id, so that each side can look it up
    include_usage: bool = False  # whether the client wants a stream's usage chunk
    tokens: int | None = None  # of all its answers together, at most; None: nobody bounds them

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))


@dataclass(frozen=True, slots=True)
class Bound:
    """What a call takes at most, and what it must have room for at least."""

    most: Cost
    least: Cost


class Incoming(Protocol):
    """An answer on its way. A stream is read by iterating; whoever stops can go on later.

    Iterating gives the payloads of a stream's events as they came: JSON of chunks, without the
    usage chunk unless the client wants it, and without [DONE]. What goes wrong on the way comes as
    a payload with an error, and ends it.
    """

    completion: Mapping[str, Any] | None  # of a call that does not stream
    raw: bytes | None  # the same, as it came
    id: str  # of the completion; '': it has none
    model: str  # as the upstream names the one that answers; '': it does not

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    @property
    def ended(self) -> bool:
        """Nothing more comes."""
        ...

    @property
    def text(self) -> str:
        """The first choice's text so far."""
        ...

    @property
    def finish_reason(self) -> str:
        """Why the first choice ended; '': it has not, or does not say."""
        ...

    @property
    def error(self) -> str | None:
        """Why the answer is not whole, once it has ended."""
        ...

    @property
    def counted(self) -> bool:
        """Whether the upstream said what it used; else `cost` is reckoned from what came."""
        ...

    def cost(self) -> Cost:
        """What it has cost so far."""
        ...

    async def close(self) -> None:
        """Let go of the connection, whatever is still on its way."""
        ...


LATE = "no answer in time"


class UpstreamError(Exception):
    """No answer came. Whoever is asked next may have one.

    message: in words of ours, which callers, headers, events and the log may be told.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,  # of the upstream's refusal
        at_fault: bool = True,  # the upstream is, and not the question
        billed: bool | None = False,  # None: nobody knows whether an answer was begun
        retry_after: float | None = None,
        body: Mapping[str, Any] | None = None,  # its own refusal of the question, for who asked
    ) -> None:
        super().__init__(message)
        self.status = status
        self.at_fault = at_fault
        self.billed = billed
        self.retry_after = retry_after
        self.body = body


def of_question(message: str, param: str | None, code: str) -> UpstreamError:
    """A question that an upstream is not asked, as it stands."""
    error = {"message": message, "type": "invalid_request_error", "code": code, "param": param}
    return UpstreamError(message, status=400, at_fault=False, body={"error": error})


class Upstream(Protocol):
    """Where questions are sent."""

    name: str  # in the settings
    model: str
    address: str  # for whoever runs the gateway; '': in this process
    train_on_replies: bool
    tells_usage: bool  # `served` knows
    bounds_dollars: bool  # `bound` knows what a call costs

    def bound(self, body: Mapping[str, Any], size: int, least_tokens: int) -> Bound:
        """size: bytes of the question as it came. Raises UpstreamError for what it cannot take."""
        ...

    def within(self, body: Mapping[str, Any], room: Cost) -> Mapping[str, Any]:
        """The body, its answer bounded to what a reservation pays for."""
        ...

    async def send(self, call: Call) -> Incoming:
        """The answer, once its first chunk is here, or all of it where it is no stream.

        Raises UpstreamError.
        """
        ...

    async def models(self) -> list[str] | None:
        """Those that it says it has, asked at no cost; None: it is no endpoint. Raises
        UpstreamError."""
        ...

    async def served(self, request_id: str) -> Cost | None:
        """What it says that it served under this id; None: it does not say. Raises UpstreamError
        where it cannot be asked now."""
        ...

    async def close(self) -> None: ...
