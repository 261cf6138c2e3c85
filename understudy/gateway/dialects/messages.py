"""Anthropic's messages, as a chat completion and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from understudy.gateway.dialects.chat import chat_request
from understudy.gateway.dialects.checking import (
    Body,
    FunctionName,
    ModelName,
    Stops,
    TokenCount,
    check,
)
from understudy.gateway.dialects.deltas import reasoning_of, stop_of, text_of
from understudy.gateway.dialects.dialect import Dialect, written
from understudy.gateway.dialects.message_events import MessageWriter, sse
from understudy.gateway.dialects.message_parts import estimated_tokens, stop_reason, usage_of
from understudy.gateway.door.errors import anthropic_error, invalid, unsupported
from understudy.gateway.ids import MESSAGE, marked
from understudy.gateway.requests import Outcome, Refused

# Passed on under the same name, or read here; whatever else Anthropic's body has is its own.
_SAME = ("model", "temperature", "top_p", "top_k", "stream", "store")
_OURS = {"messages", "system", "max_tokens", "stop_sequences", "tools", "tool_choice", "metadata"}
_IGNORED = {
    "thinking",
    "output_config",
    "output_format",
    "cache_control",
    "service_tier",
    "speed",
    "betas",
    "billing_policy",
    "compaction",
    "context_management",
    "diagnostics",
    "fallback_credit_token",
    "inference_geo",
    "user_profile_id",
    "workspace_id",
}
_REFUSED = {
    "container": "containers",
    "mcp_servers": "MCP servers",
    "fallbacks": "fallbacks",
    "thread": "threads",
}


class Block(Body):
    type: str


class Turn(Body):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class MessageTool(Body):
    name: FunctionName
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class MessageMetadata(Body):
    user_id: str | None = None


class CountBody(Body):
    """A message whose tokens are to be counted."""

    model: ModelName = Field("auto", description="auto, local, cloud, a version, a cloud's model")
    messages: Annotated[list[Turn], Field(min_length=1)]
    system: str | list[Block] | None = None
    tools: list[MessageTool] | None = None
    tool_choice: ToolChoice | None = None


class MessageBody(CountBody):
    """A message that is asked for."""

    max_tokens: TokenCount
    stream: bool | None = None
    stop_sequences: Stops | None = None
    temperature: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0)
    metadata: MessageMetadata | None = None


class Messages(Dialect):
    body_kind = MessageBody

    def __init__(self, body: dict[str, Any], raw: bytes) -> None:
        check(MessageBody, body)
        self._chat = chat_body(body)
        self.requests = (chat_request(self._chat),)

    def whole(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        completion = outcomes[0].completion or {}
        choice = (completion.get("choices") or [{}])[0]
        said = choice.get("message") or {}
        stop = stop_of(choice)
        return {
            "id": marked(completion.get("id", ""), MESSAGE),
            "type": "message",
            "role": "assistant",
            "model": completion.get("model", ""),
            "content": list(_blocks(said)),
            "stop_reason": stop_reason(choice.get("finish_reason"), stop),
            "stop_sequence": stop,
            "usage": usage_of(completion.get("usage")),
        }

    def events(
        self, outcomes: Sequence[Outcome], streams: Sequence[AsyncIterator[bytes]]
    ) -> AsyncIterator[bytes]:
        writer = MessageWriter(outcomes[0].decision.model, estimated_tokens(self._chat))
        return written(writer, streams[0])

    @staticmethod
    def failure(refused: Refused, request_id: str) -> bytes:
        return sse("error", anthropic_error(refused, request_id))


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Anthropic's body as OpenAI's chat completion."""
    for name, what in _REFUSED.items():
        if body.get(name):
            raise unsupported(name, f"{name}: {what} are not supported; leave it out")
    chat: dict[str, Any] = {name: body[name] for name in _SAME if body.get(name) is not None}
    known = _OURS | _IGNORED | _REFUSED.keys()
    chat |= {name: value for name, value in body.items() if name not in known and name not in chat}
    chat["messages"] = [*_system(body.get("system")), *_turns(body["messages"])]
    if body.get("max_tokens") is not None:
        chat["max_tokens"] = body["max_tokens"]
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    if body.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    if user := (body.get("metadata") or {}).get("user_id"):
        chat["user"] = user
    if body.get("tools"):
        chat["tools"] = [_tool(number, tool) for number, tool in enumerate(body["tools"])]
    chat |= _tool_choice(body.get("tool_choice"))
    wanted = body.get("output_config")
    form = wanted.get("format") if isinstance(wanted, Mapping) else body.get("output_format")
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        schema = {"name": "answer", "schema": form.get("schema"), "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    return chat


def _system(system: str | Sequence[Mapping[str, Any]] | None) -> Iterator[dict[str, Any]]:
    if system:
        yield {"role": "system", "content": _plain(system, "system")}


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, message in enumerate(messages):
        where, role, content = f"messages[{number}]", message["role"], message["content"]
        if isinstance(content, str):
            yield {"role": role, "content": content}
        elif role == "user":
            yield from _user_turns(content, where)
        elif role == "system":
            yield {"role": role, "content": _plain(content, f"{where}.content")}
        else:
            yield _assistant_turn(content, where)


def _user_turns(blocks: Sequence[Mapping[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    """Results of tools are messages of their own, before what the user says to them."""
    parts: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        place = f"{where}.content[{number}]"
        if block["type"] == "tool_result":
            content = block.get("content")
            text = _plain(content, f"{place}.content") if content else ""
            yield {
                "role": "tool",
                "tool_call_id": _text(block, "tool_use_id", place),
                "content": f"Error: {text}" if block.get("is_error") is True else text,
            }
        else:
            parts.append(_part(block, place))
    if all(part["type"] == "text" for part in parts):
        if parts:
            yield {"role": "user", "content": "\n".join(part["text"] for part in parts)}
    else:
        yield {"role": "user", "content": parts}


def _assistant_turn(blocks: Sequence[Mapping[str, Any]], where: str) -> dict[str, Any]:
    texts, calls = [], []
    for number, block in enumerate(blocks):
        place = f"{where}.content[{number}]"
        if block["type"] == "text":
            texts.append(_text(block, "text", place))
        elif block["type"] == "tool_use":
            arguments = orjson.dumps(block.get("input") or {}).decode()
            function = {"name": _text(block, "name", place), "arguments": arguments}
            call_id = _text(block, "id", place)
            calls.append({"id": call_id, "type": "function", "function": function})
        elif block["type"] not in ("thinking", "redacted_thinking"):
            raise unsupported(place, f"a block of type {block['type']} is not supported")
    turn: dict[str, Any] = {"role": "assistant", "content": "\n".join(texts)}
    if calls:
        turn |= {"content": turn["content"] or None, "tool_calls": calls}
    return turn


def _part(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A part of what a user says: text or an image."""
    if block["type"] == "text":
        return {"type": "text", "text": _text(block, "text", where)}
    source = block.get("source")
    if block["type"] != "image" or not isinstance(source, Mapping):
        raise unsupported(where, f"a block of type {block['type']} is not supported")
    if source.get("type") == "url":
        url = _text(source, "url", f"{where}.source")
    elif source.get("type") == "base64":
        kind = _text(source, "media_type", f"{where}.source")
        url = f"data:{kind};base64,{_text(source, 'data', f'{where}.source')}"
    else:
        raise unsupported(f"{where}.source", "an image is given as base64 or by its url")
    return {"type": "image_url", "image_url": {"url": url}}


def _plain(content: Any, where: str) -> str:
    """Text, or blocks of text alone."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise invalid(f"{where}: give text, or blocks of text", where)
    texts = []
    for number, block in enumerate(content):
        place = f"{where}[{number}]"
        if not isinstance(block, Mapping) or block.get("type") != "text":
            raise unsupported(place, "only blocks of text are supported here")
        texts.append(_text(block, "text", place))
    return "\n".join(texts)


def _text(block: Mapping[str, Any], name: str, where: str) -> str:
    found = block.get(name)
    if not isinstance(found, str):
        raise invalid(f"{where}.{name} must be a string", f"{where}.{name}")
    return found


def _tool(number: int, tool: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") not in (None, "custom"):
        param = f"tools[{number}].type"
        raise unsupported(param, f"{param}: {tool['type']} runs on Anthropic's servers only")
    function = {"name": tool["name"], "parameters": tool.get("input_schema") or {"type": "object"}}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _tool_choice(choice: Mapping[str, Any] | None) -> dict[str, Any]:
    if not choice:
        return {}
    named = {"type": "function", "function": {"name": choice.get("name")}}
    if choice["type"] == "tool" and not choice.get("name"):
        raise invalid("tool_choice.name is required where its type is tool", "tool_choice.name")
    words = {"auto": "auto", "any": "required", "none": "none", "tool": named}
    found: dict[str, Any] = {"tool_choice": words[choice["type"]]}
    if choice.get("disable_parallel_tool_use"):
        found["parallel_tool_calls"] = False
    return found


def _blocks(said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if reasoning := reasoning_of(said):
        yield {"type": "thinking", "thinking": reasoning, "signature": ""}
    calls = said.get("tool_calls") or ()
    if (text := text_of(said)) or not calls:
        yield {"type": "text", "text": text}
    for call in calls:
        function = call.get("function") or {}
        yield {
            "type": "tool_use",
            "id": call.get("id") or "",
            "name": function.get("name") or "",
            "input": _arguments(function.get("arguments")),
        }


def _arguments(text: Any) -> dict[str, Any]:
    """A call's arguments; a model may write what is no JSON object."""
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        found = text
    return found if isinstance(found, dict) else {"arguments": found}
