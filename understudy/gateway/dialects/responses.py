"""OpenAI's responses, as a chat completion and back. They keep no state here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from understudy.gateway.dialects.chat import chat_request
from understudy.gateway.dialects.checking import (
    Body,
    FunctionName,
    Metadata,
    ModelName,
    TokenCount,
    check,
)
from understudy.gateway.dialects.dialect import Dialect, written
from understudy.gateway.dialects.response_events import ResponseWriter
from understudy.gateway.dialects.response_parts import response_of
from understudy.gateway.door.errors import invalid, unsupported
from understudy.gateway.requests import Outcome, Refused

# Read here, or of no meaning to a chat completion; everything else keeps its name.
_OURS = {
    "input",
    "instructions",
    "max_output_tokens",
    "include",
    "top_logprobs",
    "text",
    "tools",
    "tool_choice",
    "reasoning",
    "stream_options",
    "truncation",
    "max_tool_calls",
    "context_management",
    "client_metadata",
    "prewarm",
}
_REFUSED = {
    "previous_response_id": "the gateway keeps no conversations; send all of it as input",
    "conversation": "the gateway keeps no conversations; send all of it as input",
    "prompt": "the gateway keeps no prompt templates; send the text as input",
    "background": "responses in the background are not supported; leave it out",
}
_LOGPROBS = "message.output_text.logprobs"


class ResponseTool(Body):
    type: str
    name: FunctionName | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class TextFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class TextConfig(Body):
    format: TextFormat | None = None


class Reasoning(Body):
    effort: str | None = None


class ResponseBody(Body):
    """A response that is asked for."""

    model: ModelName = Field("auto", description="auto, local, cloud, a version, a cloud's model")
    input: str | Annotated[list[dict[str, Any]], Field(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: TokenCount | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    include: list[str] | None = None
    text: TextConfig | None = None
    tools: list[ResponseTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    user: str | None = None


class Responses(Dialect):
    body_kind = ResponseBody

    def __init__(self, body: dict[str, Any], raw: bytes) -> None:
        check(ResponseBody, body)
        self._body = body
        self.requests = (chat_request(chat_body(body)),)

    def whole(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        return response_of(self._body, outcomes[0].completion or {})

    def events(
        self, outcomes: Sequence[Outcome], streams: Sequence[AsyncIterator[bytes]]
    ) -> AsyncIterator[bytes]:
        return written(ResponseWriter(self._body, outcomes[0].decision.model), streams[0])

    @staticmethod
    def failure(refused: Refused, request_id: str) -> bytes:
        content = {
            "type": "error",
            "code": refused.code or refused.type,
            "message": refused.message,
            "param": refused.param,
            "sequence_number": 0,
        }
        return b"event: error\ndata: " + orjson.dumps(content) + b"\n\n"


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """A response's body as OpenAI's chat completion."""
    for name, reason in _REFUSED.items():
        if body.get(name):
            raise unsupported(name, f"{name}: {reason}")
    known = _OURS | _REFUSED.keys()
    chat = {n: value for n, value in body.items() if n not in known and value is not None}
    given = body["input"]
    chat["messages"] = [
        *(
            [{"role": "system", "content": body["instructions"]}]
            if body.get("instructions")
            else ()
        ),
        *([{"role": "user", "content": given}] if isinstance(given, str) else _turns(given)),
    ]
    if not chat["messages"]:
        raise invalid("input: there is no message in it", "input")
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if body.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    if _LOGPROBS in (body.get("include") or ()) or body.get("top_logprobs"):
        chat |= {"logprobs": True, "top_logprobs": body.get("top_logprobs") or 0}
    if effort := (body.get("reasoning") or {}).get("effort"):
        chat["reasoning_effort"] = effort
    if body.get("tools"):
        chat["tools"] = [_tool(number, tool) for number, tool in enumerate(body["tools"])]
    if body.get("tool_choice"):
        chat["tool_choice"] = _tool_choice(body["tool_choice"])
    text = body.get("text") or {}
    if text.get("verbosity") is not None:
        chat["verbosity"] = text["verbosity"]
    return chat | _format(text.get("format"))


def _turns(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for number, item in enumerate(items):
        where = f"input[{number}]"
        kind = item.get("type") or "message"
        if kind == "message":
            turns.append(_message(item, where))
        elif kind == "function_call":
            function = {name: _text(item, name, where) for name in ("name", "arguments")}
            call = {"id": _text(item, "call_id", where), "type": "function", "function": function}
            if turns and turns[-1]["role"] == "assistant":
                turns[-1].setdefault("tool_calls", []).append(call)
            else:
                turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            output = item.get("output")
            text = output if isinstance(output, str) else _joined(output, f"{where}.output")
            call_id = _text(item, "call_id", where)
            turns.append({"role": "tool", "tool_call_id": call_id, "content": text})
        elif kind != "reasoning":
            raise unsupported(f"{where}.type", f"{where}: an item of type {kind} is not supported")
    return turns


def _message(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise invalid(f"{where}.role: use user, assistant, system or developer", f"{where}.role")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if role != "user":
        return {"role": role, "content": _joined(content, f"{where}.content")}
    parts = list(_parts(content, f"{where}.content"))
    if all(part["type"] == "text" for part in parts):
        return {"role": role, "content": "\n".join(part["text"] for part in parts)}
    return {"role": role, "content": parts}


def _parts(content: Any, where: str) -> Iterator[dict[str, Any]]:
    for place, part in _each(content, where):
        kind = part.get("type")
        if kind in ("input_text", "output_text", "text", "refusal"):
            name = "refusal" if kind == "refusal" else "text"
            yield {"type": "text", "text": _text(part, name, place)}
        elif kind == "input_image" and isinstance(part.get("image_url"), str):
            image = {"url": part["image_url"]}
            if isinstance(part.get("detail"), str):
                image["detail"] = part["detail"]
            yield {"type": "image_url", "image_url": image}
        else:
            raise unsupported(f"{place}.type", f"{place}: a part of type {kind} is not supported")


def _each(content: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(content, Sequence) or isinstance(content, str):
        raise invalid(f"{where}: give text, or a list of parts", where)
    for number, part in enumerate(content):
        if not isinstance(part, Mapping):
            raise invalid(f"{where}[{number}] must be an object", f"{where}[{number}]")
        yield f"{where}[{number}]", part


def _joined(content: Any, where: str) -> str:
    parts = list(_parts(content, where))
    if any(part["type"] != "text" for part in parts):
        raise unsupported(where, f"{where}: only text is supported here")
    return "\n".join(part["text"] for part in parts)


def _text(item: Mapping[str, Any], name: str, where: str) -> str:
    found = item.get(name)
    if not isinstance(found, str):
        raise invalid(f"{where}.{name} must be a string", f"{where}.{name}")
    return found


def _tool(number: int, tool: Mapping[str, Any]) -> dict[str, Any]:
    param = f"tools[{number}]"
    if tool["type"] != "function":
        raise unsupported(f"{param}.type", f"{param}: only tools of type function are supported")
    names = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in names if tool.get(name) is not None}
    if not function.get("name"):
        raise invalid(f"{param}.name is required", f"{param}.name")
    return {"type": "function", "function": function}


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    if choice.get("type") != "function":
        raise unsupported("tool_choice.type", "tool_choice: only functions can be chosen")
    return {"type": "function", "function": {"name": _text(choice, "name", "tool_choice")}}


def _format(form: Mapping[str, Any] | None) -> dict[str, Any]:
    if not form or form["type"] == "text":
        return {}
    if form["type"] == "json_object":
        return {"response_format": {"type": "json_object"}}
    if form.get("schema") is None:
        raise invalid("text.format.schema is required", "text.format.schema")
    names = ("name", "schema", "strict", "description")
    schema = {name: form[name] for name in names if form.get(name) is not None}
    schema.setdefault("name", "answer")
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
