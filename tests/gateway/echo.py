"""A core that needs no model: it repeats what it was asked, word by word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from understudy.gateway.requests import Caller, ChatRequest, Decision, ModelCard, Outcome, Refused
from understudy.gateway.writing import error_payload

MODEL = "echo@7"


class EchoCore:
    """What it does beside repeating is the first word of the question: wait, refuse, fail, and
    in the midst of a stream break, crash and spoil; sum, which adds its usage up in every chunk;
    doubt, which thinks aloud before it is known who answers; and raw, as a cloud's bytes."""

    def __init__(self) -> None:
        self.calls: list[tuple[ChatRequest, Caller]] = []
        self.cancelled = 0  # questions and streams that were given up
        self.go_on = asyncio.Event()

    async def answer(self, request: ChatRequest, caller: Caller) -> Outcome:
        self.calls.append((request, caller))
        prompt = text_of(request)
        if prompt.startswith("refuse"):
            raise Refused(
                429,
                "budget_exceeded",
                "the budget of today is spent",
                code="budget_exceeded",
                retry_after=90.5,
            )
        if prompt.startswith("fail"):
            raise RuntimeError(f"words that no log may have: {prompt}")
        if prompt.startswith("wait"):
            await self._wait()
        decision = Decision(
            "local",
            "the local model is sure “enough”",
            MODEL,
            version=MODEL,
            left={"dollars/day": 4.25},
        )
        if request.stream:
            first = (
                replace(decision, answered_by="undecided") if prompt[:5] == "doubt" else decision
            )
            return Outcome(first, chunks=self._chunks(request, prompt, decision, caller))
        choices = [self._choice(request, number) for number in range(request.n)]
        completion = {**_head("chat.completion"), "choices": choices, "usage": USAGE}
        raw = json.dumps(completion, indent=3).encode() if prompt.startswith("raw") else None
        return Outcome(decision, completion, raw=raw)

    async def models(self) -> list[ModelCard]:
        return [ModelCard("auto", "understudy"), ModelCard(MODEL, "understudy", 1700000000)]

    async def _wait(self) -> None:
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def _choice(self, request: ChatRequest, number: int) -> dict[str, Any]:
        words, reason = written(request)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(words)}
        if call := tool_call(request):
            message |= {"content": None, "tool_calls": [call]}
            reason = "tool_calls"
        found = {"index": number, "message": message, "finish_reason": reason}
        if request.body.get("logprobs"):
            found["logprobs"] = {"content": [_logprob(word) for word in words]}
        return found

    async def _chunks(
        self, request: ChatRequest, prompt: str, decision: Decision, caller: Caller
    ) -> AsyncIterator[bytes]:
        words, reason = written(request)
        whole, count = False, 0
        try:
            for number in range(request.n):
                yield _chunk(number, {"role": "assistant", "content": ""})
                if prompt.startswith("doubt"):
                    yield _chunk(number, {"reasoning_content": "perhaps 4"})
                    yield _chunk(number, {}, understudy=asdict(decision))
                if call := tool_call(request):
                    yield _chunk(number, {"tool_calls": [{"index": 0, **call}]})
                    yield _chunk(number, {}, "tool_calls")
                    continue
                for word in words:
                    logprobs = _logprob(word) if request.body.get("logprobs") else None
                    count += 1
                    more = {"usage": _usage(count)} if prompt.startswith("sum") else {}
                    yield _chunk(number, {"content": word}, logprobs=logprobs, **more)
                    if prompt.startswith("spoil"):
                        yield error_payload("the cloud failed: no reason given")
                        return
                    await self._between(prompt)
                yield _chunk(number, {}, reason)
            if request.include_usage:
                head = _head("chat.completion.chunk")
                yield json.dumps(
                    {**head, "choices": [], "usage": USAGE}, separators=(",", ":")
                ).encode()
            whole = True
        finally:
            self.cancelled += not whole
            if caller.told is not None:
                caller.told(12, count)

    async def _between(self, prompt: str) -> None:
        if prompt.startswith("hold"):
            await self.go_on.wait()
        elif prompt.startswith("break"):
            raise Refused(502, "upstream_error", "the cloud hung up", code="broken_stream")
        elif prompt.startswith("crash"):
            raise RuntimeError(f"words that no log may have: {prompt}")
        await asyncio.sleep(0)


USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 8},
}


def _usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 12, "completion_tokens": count, "total_tokens": 12 + count}


def text_of(request: ChatRequest) -> str:
    """The text of the last message."""
    content = request.messages[-1].get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content)


def written(request: ChatRequest) -> tuple[list[str], str]:
    """The words of the answer, and why it ends."""
    text = text_of(request)
    if (request.body.get("response_format") or {}).get("type", "text") != "text":
        text = json.dumps({"text": text})
    stops = request.body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0]
    words = [word if not number else f" {word}" for number, word in enumerate(text.split(" "))]
    most = request.max_tokens
    if most is not None and len(words) > most:
        return words[:most], "length"
    return words, "stop"


def tool_call(request: ChatRequest) -> dict[str, Any] | None:
    """A call of the first tool, until its result is there."""
    tools = request.body.get("tools")
    if not tools or request.messages[-1]["role"] == "tool":
        return None
    arguments = json.dumps({"text": text_of(request)})
    name = tools[0]["function"]["name"]
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1700000000, "model": MODEL}


def _chunk(
    number: int,
    delta: Mapping[str, Any],
    reason: str | None = None,
    logprobs: Mapping[str, Any] | None = None,
    **more: Any,
) -> bytes:
    choice: dict[str, Any] = {"index": number, "delta": delta, "finish_reason": reason}
    if logprobs is not None:
        choice["logprobs"] = {"content": [logprobs]}
    chunk = {**_head("chat.completion.chunk"), "choices": [choice], **more}
    return json.dumps(chunk, separators=(",", ":")).encode()


def _logprob(word: str) -> dict[str, Any]:
    token = {"token": word, "logprob": -0.5, "bytes": list(word.encode())}
    return {**token, "top_logprobs": [token]}
