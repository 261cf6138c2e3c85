"""What a dialect is: one request read into chat completions, their answers written back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from understudy.gateway.dialects.checking import Body
from understudy.gateway.requests import ChatRequest, Outcome, Refused


class Dialect(ABC):
    """One request in some dialect. It is built from a body, or Refused."""

    body_kind: ClassVar[type[Body]]
    requests: tuple[ChatRequest, ...]  # most dialects ask one question

    @abstractmethod
    def __init__(self, body: dict[str, Any], raw: bytes) -> None: ...

    @abstractmethod
    def whole(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any] | bytes:
        """The answer, where it is not streamed; or its JSON."""

    @abstractmethod
    def events(
        self, outcomes: Sequence[Outcome], streams: Sequence[AsyncIterator[bytes]]
    ) -> AsyncIterator[bytes]:
        """Server-sent events. streams: the chunks of each outcome."""

    @staticmethod
    @abstractmethod
    def failure(refused: Refused, request_id: str) -> bytes:
        """The end of a stream that broke off."""


class Writer(Protocol):
    """A stream's chunks as the events of a dialect."""

    def feed(self, chunk: bytes) -> Iterator[bytes]: ...

    def end(self) -> Iterator[bytes]: ...


async def written(writer: Writer, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Every event of a stream."""
    async for chunk in chunks:
        for event in writer.feed(chunk):
            yield event
    for event in writer.end():
        yield event
