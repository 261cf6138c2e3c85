"""How a conversation is put to the local model, and what that model cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.gateway.engine import Job
from understudy.gateway.messages import NotTextError, stops_of, text_of
from understudy.gateway.requests import Caller, ChatRequest
from understudy.gateway.settings import LocalSettings
from understudy.types import Question, Turn


class UnableError(Exception):
    """The local model cannot answer this request; the reason reads after "the local model"."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as the local model is asked it."""

    messages: tuple[Mapping[str, Any], ...]
    question: Question  # for routers
    task: str = ""
    stop: tuple[str, ...] = ()


class Form(Protocol):
    def prepared(self, messages: tuple[Mapping[str, Any], ...], task: str) -> Prepared:
        """Raises UnableError."""
        ...


class PlainForm:
    """Messages as they come; their text alone, without pictures."""

    def prepared(self, messages: tuple[Mapping[str, Any], ...], task: str) -> Prepared:
        try:
            plain = tuple(plain_message(message) for message in messages)
        except NotTextError as error:
            raise UnableError(f"reads text only, not {error}") from None
        turns = tuple(Turn(message["role"], message["content"] or "") for message in plain)
        return Prepared(plain, Question(turns), task)


def plain_message(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """With its content as one text. What developers tell a model is a system message to it."""
    role = "system" if message["role"] == "developer" else message["role"]
    return {**message, "role": role, "content": text_of(message.get("content"))}


# Fields that change the answer and that a local engine does not serve, with the values that ask
# for nothing.
_NOT_SERVED: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "logit_bias": (None, {}),
    "functions": (None, []),
    "function_call": (None, "none"),
    "frequency_penalty": (None, 0, 0.0),
    "presence_penalty": (None, 0, 0.0),
    "web_search_options": (None,),
    "modalities": (None, [], ["text"]),
    "tool_choice": (None, "none", "auto"),
}


def check_served(body: Mapping[str, Any]) -> None:
    """Raises UnableError for what a local engine would leave out in silence."""
    for name, idle in _NOT_SERVED.items():
        if body.get(name) not in idle:
            raise UnableError(f"does not serve {name}")


def jobs_of(
    request: ChatRequest,
    caller: Caller,
    prepared: Prepared,
    version: str,
    settings: LocalSettings,
) -> tuple[Job, ...]:
    """One for each answer that is wanted. Seeded ones differ by their number."""
    body = request.body
    tools = () if body.get("tool_choice") == "none" else tuple(body.get("tools") or ())
    temperature, top_p = body.get("temperature"), body.get("top_p")
    temperature = settings.temperature if temperature is None else float(temperature)
    seed = body.get("seed")
    return tuple(
        Job(
            id=f"{caller.request_id}-{number}",
            messages=() if request.prompt is not None else prepared.messages,
            version=version,
            prompt=request.prompt,
            tools=tools,
            max_tokens=request.max_tokens or settings.max_tokens,
            temperature=temperature,
            top_p=1.0 if top_p is None else float(top_p),
            seed=None if seed is None else int(seed) + number,
            stop=(*stops_of(body), *prepared.stop),
            logprobs=int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
            schema=_schema(body.get("response_format")),
            key=caller.key,
        )
        for number in range(request.n)
    )


def _schema(given: Any) -> Mapping[str, Any] | None:
    """The JSON schema that an answer must keep to; {}: any JSON object."""
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return {}
    if kind == "json_schema":
        schema: Mapping[str, Any] = (given.get("json_schema") or {}).get("schema") or {}
        return schema
    raise UnableError(f"does not serve response_format {kind}")
