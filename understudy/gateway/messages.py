"""OpenAI's messages as conversations of text, which is what local models and simulated clouds
read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.types import Options, Question, Turn


class NotTextError(ValueError):
    """A part of a conversation that is no text."""


def text_of(content: Any) -> str:
    """A message's content: a text, a list of typed parts of text, or nothing."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for part in content:
        if part.get("type") not in ("text", "input_text", "output_text", "refusal"):
            raise NotTextError(f"a part of type {part.get('type')}")
        texts.append(str(part.get("text") or part.get("refusal") or ""))
    return "\n".join(texts)


def turns_of(messages: Sequence[Mapping[str, Any]]) -> tuple[Turn, ...]:
    """Raises NotTextError. What developers tell a model comes as a system message."""
    turns = []
    for message in messages:
        role = str(message["role"])
        if role in ("tool", "function") or message.get("tool_calls"):
            raise NotTextError("a call of a tool")
        role = "system" if role == "developer" else role
        turns.append(Turn(role, text_of(message.get("content"))))
    return tuple(turns)


def question_of(body: Mapping[str, Any]) -> Question:
    """What crosses to a cloud of training's kind. Raises NotTextError."""
    options = Options(
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        temperature=body.get("temperature"),
        seed=body.get("seed"),
        stop=stops_of(body),
    )
    return Question(turns_of(body["messages"]), options)


def stops_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop") or ()
    return (stop,) if isinstance(stop, str) else tuple(stop)
