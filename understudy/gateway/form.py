"""A request as jobs of the local engine, and what that engine cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.gateway.engine import Engine, Job
from understudy.gateway.engine.fields import more_of
from understudy.gateway.messages import NotTextError, stops_of, text_of
from understudy.gateway.requests import Caller, ChatRequest
from understudy.types import Question, Turn


class UnableError(Exception):
    """The local model cannot answer this request; the reason reads after "the local model".

    param: the field that asks for it.
    """

    def __init__(self, reason: str, param: str) -> None:
        super().__init__(reason)
        self.param = param


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as the local model is asked it."""

    messages: tuple[Mapping[str, Any], ...]
    question: Question  # for routers
    task: str = ""  # which of the run's


def prepared(request: ChatRequest, task: str, engine: Engine) -> Prepared:
    """Messages with their text alone. Raises UnableError for what would be left out in silence."""
    if name := engine.unserved(request.body):
        raise UnableError(f"does not serve {name}", name)
    try:
        plain = tuple(_plain(message) for message in request.messages)
    except NotTextError as error:
        raise UnableError(f"reads text only, not {error}", "messages") from None
    turns = tuple(Turn(message["role"], message["content"]) for message in plain)
    return Prepared(plain, Question(turns), task)


def _plain(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """With its content as one text. What developers tell a model is a system message to it."""
    role = "system" if message["role"] == "developer" else message["role"]
    return {**message, "role": role, "content": text_of(message.get("content"))}


def jobs_of(
    request: ChatRequest, caller: Caller, asked: Prepared, version: str, temperature: float | None
) -> tuple[Job, ...]:
    """One for each answer that is wanted. Seeded ones differ by their number.

    temperature: where the request gives none; None: as the engine has it.
    """
    body = request.body
    given, top_p, seed = body.get("temperature"), body.get("top_p"), body.get("seed")
    return tuple(
        Job(
            id=f"{caller.request_id}-{number}",
            messages=() if request.prompt is not None else asked.messages,
            version=version,
            prompt=request.prompt,
            tools=tuple(body.get("tools") or ()),
            tool_choice=body.get("tool_choice") or "auto",
            max_tokens=request.max_tokens,
            temperature=temperature if given is None else float(given),
            top_p=None if top_p is None else float(top_p),
            seed=None if seed is None else int(seed) + number,
            stop=stops_of(body),
            logprobs=int(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
            schema=_schema(body.get("response_format")),
            key=caller.key,
            task=asked.task,
            more=more_of(body),
        )
        for number in range(request.n)
    )


def _schema(given: Any) -> Mapping[str, Any] | None:
    """The JSON schema that an answer must keep to; {}: any JSON object."""
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind == "json_object":
        return {}
    if kind == "json_schema":
        schema: Mapping[str, Any] = (given.get("json_schema") or {}).get("schema") or {}
        return schema
    return None
