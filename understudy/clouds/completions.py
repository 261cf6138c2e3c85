"""OpenAI's chat completions as bytes: what is sent, and what comes back, whole or as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from understudy.clouds.endpoint import Endpoint
from understudy.clouds.events import DONE, EventData, OverlongEventError
from understudy.types import Question


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said. Tokens are None where it did not count them."""

    text: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    completion_tokens: int | None = None
    characters: int = 0  # received: of all choices, with reasoning and tool calls
    served: bool = False  # the model ran: what came back is a completion, of whatever use
    written_tokens: int = 0  # of the prompt's, put into the endpoint's cache


def body_of(endpoint: Endpoint, question: Question, stream: bool, count_usage: bool) -> bytes:
    """The request; with `count_usage` a stream is asked to end with the number of tokens."""
    asked = question.options
    wanted: dict[str, Any] = {
        "max_tokens": max_tokens_of(endpoint, question),
        "temperature": endpoint.temperature if asked.temperature is None else asked.temperature,
        "seed": asked.seed,
        "stop": list(asked.stop) or None,
    }
    body: dict[str, Any] = {"model": endpoint.model, "messages": question.chat}
    body |= {name: value for name, value in wanted.items() if value is not None}
    if stream:
        body["stream"] = True
        if count_usage:
            body["stream_options"] = {"include_usage": True}
    return json.dumps(body | endpoint.extra_body).encode()


def max_tokens_of(endpoint: Endpoint, question: Question) -> int | None:
    """In tokens: what the question asks for, else the endpoint's setting; None: as it likes."""
    asked = question.options.max_tokens
    return endpoint.max_tokens if asked is None else asked


def whole_answer(content: bytes) -> Answer:
    """A completion that came in one piece."""
    try:
        completion = json.loads(content)
    except (ValueError, RecursionError):
        return Answer(error="malformed reply: not JSON")
    if not isinstance(completion, Mapping):
        return Answer(error="malformed reply: no JSON object")
    assembly = Assembly()
    assembly.add(completion)
    return assembly.answer()


class StreamedAnswer:
    """A completion that comes as server-sent events, in pieces that end anywhere."""

    def __init__(self) -> None:
        self.done = False  # nothing more is read
        self._assembly = Assembly()
        self._events = EventData()
        self._malformed = False

    def feed(self, piece: bytes) -> str:
        """Take the next bytes; returns the part of the answer that they complete."""
        known = len(self._assembly.texts)
        try:
            for data in self._events.feed(piece):
                self._read(data)
        except OverlongEventError:
            self.done = self._malformed = True
        return _printable(self._assembly.texts[known:])

    def answer(self) -> Answer:
        """What has come: whole once the model said why it stopped, whatever else is missing."""
        malformed = self._malformed
        for data in self._events.end():
            self._read(data)
        answer = self._assembly.answer()
        if malformed:
            return replace(answer, text=None, error="malformed reply: an event is not JSON")
        if answer.error is None and not (self.done or self._assembly.finish_reason):
            return replace(answer, text=None, error="broken stream")
        return answer

    def _read(self, data: bytes) -> None:
        if data.strip() == DONE:
            self.done = True
        elif not self.done:
            self._add(data)

    def _add(self, data: bytes) -> None:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            chunk = None
        if isinstance(chunk, Mapping):
            self._assembly.add(chunk)
        else:
            self._malformed = True


class Assembly:
    """The parts of one completion. Its first choice is read; the others are measured, as they are
    paid for too."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.texts: list[str] = []
        self.size = 0  # bytes of all choices, with reasoning and tool calls
        self.pieces = 0  # parts of choices that said something
        self._characters = 0
        self._refused = False
        self._calls_tools = False
        self._choices = False
        self._error: str | None = None
        self._usage: Mapping[str, Any] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """A whole completion, or one chunk of it."""
        if chunk.get("error"):
            self._error = error_message(chunk) or "no reason given"
        usage = chunk.get("usage")
        if isinstance(usage, Mapping):
            self._usage = usage
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return
        for choice in choices:
            self._measure(choice)
        first = choices[0] if choices else None
        if not isinstance(first, Mapping):
            return  # the chunk of usage has no choices
        self._choices = True
        if isinstance(first.get("finish_reason"), str):
            self.finish_reason = first["finish_reason"]
        message = first.get("message") or first.get("delta")
        if isinstance(message, Mapping):
            self.texts += _texts(message.get("content"))
            self._refused |= bool(message.get("refusal"))
            self._calls_tools |= bool(message.get("tool_calls") or message.get("function_call"))

    def _measure(self, choice: Any) -> None:
        written = "".join(_written(choice))
        if written:
            self.pieces += 1
            self._characters += len(written)
            self.size += len(written.encode("utf-8", "replace"))

    def answer(self) -> Answer:
        text = _printable(self.texts)
        used, error = read_usage(self._usage), self._fault(text)
        return Answer(
            text=text if error in (None, "truncated") else None,
            error=error,
            prompt_tokens=used.prompt,
            cached_tokens=used.cached,
            written_tokens=used.written,
            completion_tokens=used.completion,
            characters=self._characters,
            served=self._choices,
        )

    def _fault(self, text: str) -> str | None:
        """Why this is no answer, if it is none."""
        if self._error is not None:
            return f"the endpoint failed: {self._error}"
        if not self._choices:
            return "malformed reply: no choices"
        if self.finish_reason == "length":
            return "truncated"
        if self.finish_reason == "content_filter":
            return "stopped by the endpoint's content filter"
        if self._refused:
            return "refusal"
        if self._calls_tools and not text.strip():
            return "tool calls instead of an answer"
        return None if text.strip() else "empty answer"


def _printable(texts: Sequence[str]) -> str:
    """As one text, without half characters."""
    return "".join(texts).encode("utf-8", "replace").decode()


def error_message(content: Any) -> str | None:
    """The reason in an endpoint's error, on one line; its shapes differ."""
    error = content.get("error", content) if isinstance(content, Mapping) else content
    for name in ("message", "detail"):
        if isinstance(error, Mapping) and error.get(name):
            error = error[name]
    return " ".join(error.split()) if isinstance(error, str) else None


def _texts(content: Any) -> Iterator[str]:
    """A text, or the texts in a list of typed parts."""
    if isinstance(content, str) and content:
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, Mapping):
                yield from _texts(part.get("text"))


def _written(choice: Any) -> Iterator[str]:
    """Everything in a choice, or in a part of one, that the model wrote."""
    message = choice.get("message") or choice.get("delta") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        return
    yield from _texts(message.get("content"))
    yield from _texts(message.get("refusal"))
    yield from _texts(message.get("reasoning_content") or message.get("reasoning"))
    calls = message.get("tool_calls")
    for call in (*(calls if isinstance(calls, list) else ()), {"function": message.get(_LEGACY)}):
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield from _texts(function.get("name"))
            yield from _texts(function.get("arguments"))


_LEGACY = "function_call"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as an endpoint counted them; None where it did not."""

    prompt: int | None = None
    completion: int | None = None
    cached: int = 0  # of the prompt's, found in the endpoint's cache
    written: int = 0  # of the prompt's, put into it


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Everything that is paid for, under whatever name.

    Some leave the tokens of reasoning out of the answer's, and only the total has them; some leave
    those that their cache took out of the prompt's. LiteLLM, Anthropic and OpenRouter have three
    names for the latter.
    """
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None:
        return Usage(completion=completion)
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, Mapping) else {}
    cached = min(_count(details.get("cached_tokens")) or 0, prompt)
    names = (usage.get("cache_creation_input_tokens"), details.get("cache_creation_tokens"))
    written = max(_count(each) or 0 for each in (*names, details.get("cache_write_tokens")))
    prompt, total = max(prompt, cached + written), _count(usage.get("total_tokens"))
    if completion is not None and total is not None:
        completion = max(completion, total - prompt)
    return Usage(prompt, completion, cached, written)


def _count(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and value >= 0 else None
