"""OpenAI's chat completions: what the core speaks itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from understudy.gateway.dialects.checking import (
    Body,
    FunctionName,
    Metadata,
    ModelName,
    Stop,
    Stops,
    TokenCount,
    check,
)
from understudy.gateway.dialects.dialect import Dialect
from understudy.gateway.door.errors import openai_error
from understudy.gateway.requests import ChatRequest, Outcome, Refused

MOST_ANSWERS = 128
DONE = b"data: [DONE]\n\n"


class Part(Body):
    """A part of a message: text, an image, a sound, a file."""

    type: str
    text: str | None = None

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if self.type == "text" and self.text is None:
            raise ValueError("a part of type text needs text")
        return self


class FunctionCall(Body):
    name: str
    arguments: str


class ToolCall(Body):
    id: str
    type: str = "function"
    function: FunctionCall | None = None


class Message(Body):
    """A turn of the conversation."""

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.role != "assistant" and self.content is None:
            raise ValueError(f"a message of role {self.role} needs content")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of role tool needs tool_call_id")
        return self


class Function(Body):
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    type: str
    function: Function | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.type == "function" and self.function is None:
            raise ValueError("a tool of type function needs function")
        return self


class JsonSchema(Body):
    model_config = ConfigDict(serialize_by_alias=True)

    name: str = "answer"
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("type json_schema needs json_schema")
        return self


class StreamOptions(Body):
    include_usage: bool | None = None


class ChatBody(Body):
    """A chat completion that is asked for."""

    model: ModelName = Field("auto", description="auto, local, cloud, a version, a cloud's model")
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=MOST_ANSWERS)
    best_of: int | None = Field(None, ge=1, le=MOST_ANSWERS)  # of some clouds
    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = None
    stop: Stop | Stops | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    user: str | None = None

    @field_validator("top_logprobs", "stream_options")
    @classmethod
    def _has_what_it_is_for(cls, value: Any, info: ValidationInfo) -> Any:
        needed = "logprobs" if info.field_name == "top_logprobs" else "stream"
        if value is not None and not info.data.get(needed):
            raise ValueError(f"needs {needed}=true")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _has_tools(cls, choice: Any, info: ValidationInfo) -> Any:
        if choice not in (None, "auto", "none") and not info.data.get("tools"):
            raise ValueError("needs tools to choose from")
        return choice


def chat_request(body: dict[str, Any], prompt: str | None = None) -> ChatRequest:
    """The chat completion that another dialect's body was made into. Fields that it passed on are
    checked like those that came as such."""
    check(ChatBody, body)
    return ChatRequest(body, prompt=prompt)


class Chat(Dialect):
    """A chat completion, passed on as it is."""

    body_kind = ChatBody

    def __init__(self, body: dict[str, Any], raw: bytes) -> None:
        check(ChatBody, body)
        self.requests = (ChatRequest(body, raw),)

    def whole(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any] | bytes:
        (outcome,) = outcomes
        assert outcome.completion is not None
        return outcome.raw or outcome.completion

    async def events(
        self, outcomes: Sequence[Outcome], streams: Sequence[AsyncIterator[bytes]]
    ) -> AsyncIterator[bytes]:
        async for chunk in streams[0]:
            yield b"data: " + chunk + b"\n\n"
        yield DONE

    @staticmethod
    def failure(refused: Refused, request_id: str) -> bytes:
        """The end of a stream that broke off."""
        return b"data: " + orjson.dumps(openai_error(refused, request_id)) + b"\n\n" + DONE
