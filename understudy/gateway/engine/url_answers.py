"""A job as the body of a request to an OpenAI-compatible engine, and its stream read back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import aiohttp
import orjson

from understudy.gateway.engine import Job, Piece, TokenLogprob, Written

_LONGEST_EVENT = 4 * 2**20  # bytes


def body_of(job: Job, given: Mapping[str, Any], gives_logprobs: bool) -> dict[str, Any]:
    """given: what names the version. Log-probabilities are always wanted where there are any: their
    mean says how sure the model was. Fields that the job has no name for go along as they came."""
    top = max(1, job.logprobs or 0)  # some give none where none are to be likeliest
    body: dict[str, Any] = {**job.more, "stream": True, **given}
    if job.prompt is not None:
        body["prompt"] = job.prompt
        more: dict[str, Any] = {"logprobs": top} if gives_logprobs else {}
    else:
        body["messages"] = [dict(message) for message in job.messages]
        more = {"logprobs": True, "top_logprobs": top} if gives_logprobs else {}
    if job.tools:
        more |= {"tools": [dict(tool) for tool in job.tools], "tool_choice": job.tool_choice}
    if job.schema is not None:
        more["response_format"] = (
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(job.schema)}}
            if job.schema
            else {"type": "json_object"}
        )
    wanted = {
        "max_tokens": job.max_tokens,
        "temperature": job.temperature,
        "top_p": job.top_p,
        "seed": job.seed,
        "stop": list(job.stop) or None,
    }
    return body | more | {name: value for name, value in wanted.items() if value is not None}


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Mapping[str, Any]]:
    """The JSON objects of a stream's events, or the one of an answer that came whole."""
    if response.content_type == "application/json":
        yield _read(await response.read())
        return
    rest = b""
    async for piece in response.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LONGEST_EVENT:
            raise aiohttp.ClientPayloadError("an event is too long")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            yield _read(data)


def _read(data: bytes) -> Mapping[str, Any]:
    """As engines write it: half a pair of surrogates, which no text may hold, becomes a question
    mark, and a number that is none nothing."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            odd = json.loads(data, parse_constant=lambda name: None)
            found = orjson.loads(json.dumps(odd, ensure_ascii=False).encode(errors="replace"))
        except (ValueError, RecursionError) as error:
            raise aiohttp.ClientPayloadError("an event is no JSON") from error
    return found if isinstance(found, Mapping) else {}


class UrlAnswer:
    """One answer while it comes."""

    def __init__(self, job: Job) -> None:
        self.job, self.finish_reason, self.stop = job, "", ""
        self._texts: list[str] = []
        self._logprobs: list[float] = []
        self._pieces = 0
        self._usage: Mapping[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}

    def take(self, event: Mapping[str, Any]) -> Piece | None:
        self._usage = event.get("usage") or self._usage
        choice = next(iter(event.get("choices") or ()), None)
        if not isinstance(choice, Mapping):
            return None
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        if isinstance(stop := choice.get("stop_reason"), str):  # vLLM's; a number is a token's
            self.stop = stop
        message = choice.get("delta") or choice.get("message") or {}
        text = choice.get("text") or message.get("content") or ""
        for number, call in enumerate(message.get("tool_calls") or ()):
            self._add_call(call, number)
        known = list(_logprobs(choice.get("logprobs") or {}))
        self._logprobs += [each.logprob for each in known]
        if not text:
            return None
        self._texts.append(text)
        self._pieces += 1
        return Piece(text, tuple(known) if self.job.logprobs is not None else ())

    def _add_call(self, call: Mapping[str, Any], number: int) -> None:
        """A part of a call: its name comes once, its arguments piece by piece."""
        place = call.get("index")
        own = self._calls.setdefault(
            number if place is None else place,
            {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
        )
        own["id"] = call.get("id") or own["id"]
        for field in ("name", "arguments"):
            own["function"][field] += (call.get("function") or {}).get(field) or ""

    def written(self) -> Written:
        """Tokens are as the engine counted them; else as many as came with log-probabilities, or
        as pieces."""
        usage = self._usage
        details = usage.get("prompt_tokens_details") or {}
        count = usage.get("completion_tokens")
        mean = sum(self._logprobs) / len(self._logprobs) if self._logprobs else None
        return Written(
            text="".join(self._texts),
            finish_reason="tool_calls" if self._calls else self.finish_reason,
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            cached_tokens=int(details.get("cached_tokens") or 0),
            completion_tokens=int(count or len(self._logprobs) or self._pieces),
            version=self.job.version,
            mean_logprob=mean,
            tool_calls=tuple(self._calls[place] for place in sorted(self._calls)),
            stop=self.stop,
        )


def _logprobs(found: Mapping[str, Any]) -> list[TokenLogprob]:
    """As chat completions give them, or as plain completions do."""
    if found.get("content"):
        return [
            TokenLogprob(*_token(each), tuple(map(_token, _known(each.get("top_logprobs") or ()))))
            for each in _known(found["content"])
        ]
    tokens, values = found.get("tokens") or (), found.get("token_logprobs") or ()
    tops = found.get("top_logprobs") or [{}] * len(tokens)
    return [
        TokenLogprob(
            token,
            float(value),
            token.encode(),
            tuple(
                (other, float(own), other.encode())
                for other, own in (top or {}).items()
                if own is not None
            ),
        )
        for token, value, top in zip(tokens, values, tops, strict=False)
        if value is not None
    ]


def _known(tokens: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Those that have a log-probability."""
    return (each for each in tokens if each.get("logprob") is not None)


def _token(given: Mapping[str, Any]) -> tuple[str, float, bytes]:
    text = str(given.get("token", ""))
    known = given.get("bytes")
    utf8 = bytes(known) if isinstance(known, list) else text.encode(errors="replace")
    return text, float(given["logprob"]), utf8
