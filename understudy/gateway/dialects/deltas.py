"""A chunk of a streamed chat completion, read for the dialects that write it differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class ToolDelta:
    """More of a tool's call. The first of each has its id and name."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Delta:
    """What a chunk adds to the first answer."""

    id: str = ""
    model: str = ""
    created: int = 0
    text: str = ""
    reasoning: str = ""
    tools: tuple[ToolDelta, ...] = ()
    logprobs: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str | None = None
    stop: str | None = None  # the string that ended it, where whoever answered says so
    usage: Mapping[str, Any] | None = None


def delta_of(chunk: bytes) -> Delta:
    found = orjson.loads(chunk)
    choices = found.get("choices") or ()
    choice = choices[0] if choices else {}
    delta = choice.get("delta") or {}
    logprobs = (choice.get("logprobs") or {}).get("content") or ()
    return Delta(
        id=found.get("id") or "",
        model=found.get("model") or "",
        created=found.get("created") or 0,
        text=text_of(delta),
        reasoning=reasoning_of(delta),
        tools=tuple(_tool(each) for each in delta.get("tool_calls") or ()),
        logprobs=tuple(logprobs),
        finish_reason=choice.get("finish_reason"),
        stop=stop_of(choice),
        usage=found.get("usage"),
    )


def text_of(message: Mapping[str, Any]) -> str:
    """What is shown: the answer, or why there is none."""
    return str(message.get("content") or message.get("refusal") or "")


def reasoning_of(message: Mapping[str, Any]) -> str:
    """What was thought, by either of the names that servers give it."""
    return str(message.get("reasoning_content") or message.get("reasoning") or "")


def stop_of(choice: Mapping[str, Any]) -> str | None:
    found = choice.get("stop_reason")
    return found if isinstance(found, str) else None


def _tool(call: Mapping[str, Any]) -> ToolDelta:
    function = call.get("function") or {}
    return ToolDelta(
        index=int(call.get("index") or 0),
        id=call.get("id") or "",
        name=function.get("name") or "",
        arguments=function.get("arguments") or "",
    )
