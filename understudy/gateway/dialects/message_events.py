"""The events of Anthropic's streamed messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from understudy.gateway.dialects.deltas import Delta, ToolDelta, delta_of
from understudy.gateway.dialects.message_parts import stop_reason, usage_of
from understudy.gateway.ids import MESSAGE, marked


def sse(name: str, content: Mapping[str, Any]) -> bytes:
    """One server-sent event with a name."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(content) + b"\n\n"


def _event(name: str, **fields: Any) -> bytes:
    return sse(name, {"type": name, **fields})


class MessageWriter:
    """Chunks in, events out: one block is open at a time, in the order in which they came."""

    def __init__(self, model: str, expected: int) -> None:
        """expected: about how many tokens the question has, for the first event: only the last one
        can have the count."""
        self._model, self._expected = model, expected
        self._started = False
        self._open: tuple[str, int] | None = None  # the kind of the open block; of a tool, which
        self._count = 0  # blocks so far
        self._finish: str | None = None
        self._stop: str | None = None
        self._usage: Mapping[str, Any] | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        delta = delta_of(chunk)
        yield from self._start(delta)
        if delta.reasoning:
            yield from self._block(("thinking", 0), {"thinking": "", "signature": ""})
            yield self._delta(type="thinking_delta", thinking=delta.reasoning)
        if delta.text:
            yield from self._block(("text", 0), {"text": ""})
            yield self._delta(type="text_delta", text=delta.text)
        for tool in delta.tools:
            yield from self._tool(tool)
        self._finish = delta.finish_reason or self._finish
        self._stop = delta.stop or self._stop
        self._usage = delta.usage or self._usage

    def end(self) -> Iterator[bytes]:
        yield from self._start(Delta())
        if not self._count:
            yield from self._block(("text", 0), {"text": ""})
        yield from self._close()
        ended = {
            "stop_reason": stop_reason(self._finish, self._stop),
            "stop_sequence": self._stop,
        }
        yield _event("message_delta", delta=ended, usage=usage_of(self._usage))
        yield _event("message_stop")

    def _start(self, delta: Delta) -> Iterator[bytes]:
        if self._started:
            return
        self._started = True
        message: dict[str, Any] = {
            "id": marked(delta.id, MESSAGE),
            "type": "message",
            "role": "assistant",
            "model": delta.model or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(delta.usage or {"prompt_tokens": self._expected}),
        }
        yield _event("message_start", message=message)
        yield _event("ping")

    def _tool(self, tool: ToolDelta) -> Iterator[bytes]:
        block = {"id": tool.id, "name": tool.name, "input": {}}
        yield from self._block(("tool_use", tool.index), block)
        if tool.arguments:
            yield self._delta(type="input_json_delta", partial_json=tool.arguments)

    def _block(self, kind: tuple[str, int], start: Mapping[str, Any]) -> Iterator[bytes]:
        """The block that is open is of that kind from now on."""
        if self._open == kind:
            return
        yield from self._close()
        self._open = kind
        self._count += 1
        block = {"type": kind[0], **start}
        yield _event("content_block_start", index=self._count - 1, content_block=block)

    def _close(self) -> Iterator[bytes]:
        if self._open is not None:
            self._open = None
            yield _event("content_block_stop", index=self._count - 1)

    def _delta(self, **delta: Any) -> bytes:
        return _event("content_block_delta", index=self._count - 1, delta=delta)
