"""An answer of ours in OpenAI's shapes: a whole completion, or the chunks of a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from understudy.gateway.engine import TokenLogprob
from understudy.gateway.ids import new_id

Usage = Mapping[str, Any]


def usage_of(prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
    return usage


class Writing:
    """The payloads of one answer. The first of every choice names the role."""

    def __init__(self, model: str, include_usage: bool = False) -> None:
        self.model, self.include_usage = model, include_usage
        self.id = new_id()
        self.created = int(time.time())
        self._begun: set[int] = set()

    def piece(self, text: str, logprobs: Sequence[TokenLogprob] = (), index: int = 0) -> bytes:
        choice: dict[str, Any] = {"delta": self._delta(index, {"content": text})}
        if logprobs:
            choice["logprobs"] = logprobs_of(logprobs)
        return self._chunk(choice, index)

    def reasoning(self, text: str, index: int = 0) -> bytes:
        """A draft while nobody knows whether it stands."""
        return self._chunk({"delta": self._delta(index, {"reasoning_content": text})}, index)

    def tool_calls(self, calls: Sequence[Mapping[str, Any]], index: int = 0) -> bytes:
        numbered = [{"index": place, **call} for place, call in enumerate(calls)]
        return self._chunk({"delta": self._delta(index, {"tool_calls": numbered})}, index)

    def finish(self, reason: str, index: int = 0, stop: str = "") -> bytes:
        """stop: the string that ended the answer."""
        said = {"delta": self._delta(index, {}), "finish_reason": reason, **_stopped(stop)}
        return self._chunk(said, index)

    def told(self, about: Mapping[str, Any], index: int = 0) -> bytes:
        """What a head could not say yet."""
        return self._chunk({"delta": self._delta(index, {})}, index, understudy=about)

    def usage(self, usage: Usage) -> Iterator[bytes]:
        """The last chunk, where the client wants it."""
        if self.include_usage:
            yield orjson.dumps({**self._head(), "choices": [], "usage": usage})

    def end(self, reason: str, usage: Usage) -> Iterator[bytes]:
        """Of a stream with one choice."""
        yield self.finish(reason)
        yield from self.usage(usage)

    def completion(self, choices: Sequence[Mapping[str, Any]], usage: Usage) -> dict[str, Any]:
        head = {**self._head(), "object": "chat.completion"}
        return {**head, "choices": list(choices), "usage": usage}

    def _delta(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        if index in self._begun:
            return delta
        self._begun.add(index)
        return {"role": "assistant", **({} if "content" in delta else {"content": ""}), **delta}

    def _chunk(self, choice: Mapping[str, Any], index: int, **more: Any) -> bytes:
        whole = {"index": index, "logprobs": None, "finish_reason": None, **choice}
        usage = {"usage": None} if self.include_usage else {}
        return orjson.dumps({**self._head(), "choices": [whole], **usage, **more})

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
        }


def choice_of(
    text: str,
    reason: str,
    *,
    index: int = 0,
    logprobs: Sequence[TokenLogprob] | None = None,
    tool_calls: Sequence[Mapping[str, Any]] = (),
    reasoning: str = "",
    stop: str = "",
) -> dict[str, Any]:
    """A choice of a whole completion. stop: the string that ended it."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if tool_calls:
        message |= {"content": text or None, "tool_calls": list(tool_calls)}
    if reasoning:
        message["reasoning_content"] = reasoning
    said = None if logprobs is None else logprobs_of(logprobs)
    found = {"index": index, "message": message, "logprobs": said, "finish_reason": reason}
    return found | _stopped(stop)


def _stopped(stop: str) -> dict[str, str]:
    """By the name that vLLM gives it; OpenAI has none."""
    return {"stop_reason": stop} if stop else {}


def logprobs_of(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    def shown(token: str, logprob: float, utf8: bytes) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(utf8)}

    content = [
        {
            **shown(each.token, each.logprob, each.utf8),
            "top_logprobs": [shown(*other) for other in each.top],
        }
        for each in tokens
    ]
    return {"content": content, "refusal": None}


def error_payload(message: str, type: str = "upstream_error") -> bytes:
    """What a stream ends with that cannot go on."""
    error = {"message": message, "type": type, "code": None, "param": None}
    return orjson.dumps({"error": error})


def chunks_of(completion: Mapping[str, Any], include_usage: bool) -> Iterator[bytes]:
    """A whole completion as the chunks of a stream, from an upstream that does not stream."""
    head = {**completion, "object": "chat.completion.chunk"}
    usage = head.pop("usage", None)
    for choice in completion["choices"]:
        message = dict(choice.get("message") or {})
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
        shown = {name: value for name, value in choice.items() if name != "message"}
        yield orjson.dumps({**head, "choices": [{**shown, "delta": message}]})
    if include_usage and usage is not None:
        yield orjson.dumps({**head, "choices": [], "usage": usage})
