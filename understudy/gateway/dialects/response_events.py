"""The events of OpenAI's streamed responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from understudy.gateway.dialects.deltas import Delta, ToolDelta, delta_of
from understudy.gateway.dialects.response_parts import (
    Item,
    call_item,
    ended,
    message_item,
    reasoning_item,
    shell,
    text_part,
)


class ResponseWriter:
    """Chunks in, events out: one item of the output is open at a time."""

    def __init__(self, body: Mapping[str, Any], model: str) -> None:
        self._body, self._model = body, model
        self._number = 0  # of the next event
        self._response: dict[str, Any] | None = None
        self._items: list[Item] = []  # those that are whole
        self._open: tuple[str, int] | None = None  # the kind of the open item; of a tool, which
        self._item: Item = {}  # the open one, as it was announced
        self._text: list[str] = []  # what the open one holds so far
        self._logprobs: list[Mapping[str, Any]] = []
        self._finish: str | None = None
        self._usage: Mapping[str, Any] | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        delta = delta_of(chunk)
        yield from self._start(delta)
        if delta.reasoning:
            yield from self._reasoning(delta.reasoning)
        if delta.text:
            yield from self._said(delta)
        for tool in delta.tools:
            yield from self._tool(tool)
        self._finish = delta.finish_reason or self._finish
        self._usage = delta.usage or self._usage

    def end(self) -> Iterator[bytes]:
        yield from self._start(Delta())
        if not self._items and self._open is None:
            yield from self._message()
        yield from self._close()
        assert self._response is not None
        whole = ended(self._response, self._items, self._finish, self._usage)
        yield self._event(f"response.{whole['status']}", response=whole)

    def _start(self, delta: Delta) -> Iterator[bytes]:
        if self._response is not None:
            return
        model = delta.model or self._model
        self._response = shell(self._body, delta.id, model, delta.created)
        yield self._event("response.created", response=self._response)
        yield self._event("response.in_progress", response=self._response)

    def _reasoning(self, text: str) -> Iterator[bytes]:
        if self._open != ("reasoning", 0):
            item = reasoning_item(self._id, "", "in_progress")
            yield from self._begin(("reasoning", 0), item)
            yield self._part("response.content_part.added", {"type": "reasoning_text", "text": ""})
        self._text.append(text)
        yield self._inside("response.reasoning_text.delta", delta=text)

    def _message(self) -> Iterator[bytes]:
        if self._open == ("message", 0):
            return
        item = message_item(self._id, [], "in_progress")
        yield from self._begin(("message", 0), item)
        yield self._part("response.content_part.added", text_part(""))

    def _said(self, delta: Delta) -> Iterator[bytes]:
        yield from self._message()
        self._text.append(delta.text)
        self._logprobs += delta.logprobs
        logprobs = text_part("", delta.logprobs)["logprobs"]
        yield self._inside("response.output_text.delta", delta=delta.text, logprobs=logprobs)

    def _tool(self, tool: ToolDelta) -> Iterator[bytes]:
        kind = ("function_call", tool.index)
        if self._open != kind:
            yield from self._begin(kind, call_item(tool.id, tool.name, "", "in_progress"))
        if tool.arguments:
            self._text.append(tool.arguments)
            yield self._event(
                "response.function_call_arguments.delta",
                item_id=self._item["id"],
                output_index=len(self._items),
                delta=tool.arguments,
            )

    def _begin(self, kind: tuple[str, int], item: Item) -> Iterator[bytes]:
        yield from self._close()
        self._open, self._item = kind, item
        self._text, self._logprobs = [], []
        yield self._event("response.output_item.added", output_index=len(self._items), item=item)

    def _close(self) -> Iterator[bytes]:
        if self._open is None:
            return
        kind, text = self._open[0], "".join(self._text)
        if kind == "reasoning":
            yield self._inside("response.reasoning_text.done", text=text)
            yield self._part("response.content_part.done", {"type": "reasoning_text", "text": text})
            whole = reasoning_item(self._id, text)
        elif kind == "message":
            part = text_part(text, self._logprobs)
            logprobs = part["logprobs"]
            yield self._inside("response.output_text.done", text=text, logprobs=logprobs)
            yield self._part("response.content_part.done", part)
            whole = message_item(self._id, [part])
        else:
            yield self._event(
                "response.function_call_arguments.done",
                item_id=self._item["id"],
                output_index=len(self._items),
                name=self._item["name"],
                arguments=text,
            )
            whole = call_item(self._item["call_id"], self._item["name"], text)
        yield self._event("response.output_item.done", output_index=len(self._items), item=whole)
        self._items.append(whole)
        self._open = None

    @property
    def _id(self) -> str:
        assert self._response is not None
        return str(self._response["id"])

    def _part(self, name: str, part: Mapping[str, Any]) -> bytes:
        return self._inside(name, part=part)

    def _inside(self, name: str, /, **fields: Any) -> bytes:
        """An event about the only part of the open item."""
        return self._event(
            name,
            item_id=self._item["id"],
            output_index=len(self._items),
            content_index=0,
            **fields,
        )

    def _event(self, name: str, /, **fields: Any) -> bytes:
        content = {"type": name, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(content) + b"\n\n"
