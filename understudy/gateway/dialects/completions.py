"""OpenAI's older completions: plain text that is continued."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

import orjson
from pydantic import Field

from understudy.gateway.dialects.chat import (
    DONE,
    MOST_ANSWERS,
    Chat,
    StreamOptions,
    chat_request,
)
from understudy.gateway.dialects.checking import (
    Body,
    ModelName,
    Stop,
    Stops,
    TokenCount,
    check,
)
from understudy.gateway.dialects.dialect import Dialect
from understudy.gateway.door.errors import invalid, unsupported
from understudy.gateway.requests import Outcome, Refused

MOST_PROMPTS = 32
_OWN = {"prompt", "echo", "suffix", "best_of", "logprobs"}


class CompletionBody(Body):
    """A completion that is asked for."""

    model: ModelName = Field("auto", description="auto, local, cloud, a version, a cloud's model")
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)] | list[Any]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=MOST_ANSWERS)
    max_tokens: TokenCount | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = None
    stop: Stop | Stops | None = None
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = Field(None, ge=1, le=MOST_ANSWERS)


class Completions(Dialect):
    """Every prompt is a question of its own; their answers are numbered on."""

    body_kind = CompletionBody

    def __init__(self, body: dict[str, Any], raw: bytes) -> None:
        check(CompletionBody, body)
        prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
        if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
            raise unsupported("prompt", "prompt: give text; token numbers are no text here")
        if len(prompts) > MOST_PROMPTS:
            raise invalid(f"prompt: at most {MOST_PROMPTS} prompts", "prompt")
        for name in ("echo", "suffix"):
            if body.get(name):
                raise unsupported(name, f"{name} is not supported; leave it out")
        if (body.get("best_of") or 1) > (body.get("n") or 1):
            raise unsupported("best_of", "best_of above n is not supported; leave it out")
        self._count = body.get("n") or 1
        kept = {name: value for name, value in body.items() if name not in _OWN}
        if body.get("logprobs") is not None:
            kept |= {"logprobs": True, "top_logprobs": body["logprobs"]}
        self.requests = tuple(
            chat_request(kept | {"messages": [{"role": "user", "content": prompt}]}, prompt)
            for prompt in prompts
        )

    def whole(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        completions = [outcome.completion or {} for outcome in outcomes]
        first = completions[0]
        choices = [
            _choice(choice, choice.get("message") or {}, number * self._count)
            for number, completion in enumerate(completions)
            for choice in completion.get("choices") or ()
        ]
        usages = [each["usage"] for each in completions if each.get("usage")]
        found = _shape(first, choices)
        return found | ({"usage": summed_usage(usages)} if usages else {})

    async def events(
        self, outcomes: Sequence[Outcome], streams: Sequence[AsyncIterator[bytes]]
    ) -> AsyncIterator[bytes]:
        usages: dict[int, Mapping[str, Any]] = {}  # of a stream the last: some add up as they go
        last: Mapping[str, Any] = {}
        for number, stream in enumerate(streams):
            async for chunk in stream:
                found = orjson.loads(chunk)
                if found.get("usage"):
                    usages[number] = found["usage"]
                    last = found
                choices = [
                    _choice(choice, choice.get("delta") or {}, number * self._count)
                    for choice in found.get("choices") or ()
                ]
                if any(choice["text"] or choice["finish_reason"] for choice in choices):
                    yield b"data: " + orjson.dumps(_shape(found, choices)) + b"\n\n"
        if usages:
            final = _shape(last, []) | {"usage": summed_usage([*usages.values()])}
            yield b"data: " + orjson.dumps(final) + b"\n\n"
        yield DONE

    @staticmethod
    def failure(refused: Refused, request_id: str) -> bytes:
        return Chat.failure(refused, request_id)


def summed_usage(usages: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: sum(int(usage.get(name) or 0) for usage in usages) for name in names}


def _shape(chat: Mapping[str, Any], choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": chat.get("id", ""),
        "object": "text_completion",
        "created": chat.get("created", 0),
        "model": chat.get("model", ""),
        "choices": choices,
    }


def _choice(choice: Mapping[str, Any], said: Mapping[str, Any], offset: int) -> dict[str, Any]:
    return {
        "index": int(choice.get("index") or 0) + offset,
        "text": said.get("content") or "",
        "finish_reason": choice.get("finish_reason"),
        "logprobs": _logprobs(choice.get("logprobs")),
    }


def _logprobs(chat: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Log-probabilities in the older form: a list per property."""
    if not chat or chat.get("content") is None:
        return None
    tokens = chat["content"]
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token["token"])
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [
            {each["token"]: each["logprob"] for each in token.get("top_logprobs") or ()}
            for token in tokens
        ],
        "text_offset": offsets,
    }
