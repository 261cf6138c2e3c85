"""A cloud for tests: OpenAI's chat completions over a real socket, well or badly, and a book of
what it served to whom.

In a test:          async with MockUpstream(Behaviour(words=5)) as upstream: ... upstream.url
As a process:       python tests/gateway/upstream.py --port 9000 --words 20

A token is a word. It answers with as many words as it is told, or max_tokens, and counts each as
it is written. `GET /usage/{request_id}` says what was served for an x-client-request-id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a request is answered."""

    words: int = 5
    prefix: str = "word"  # the answer is "word0 word1 ..."
    counts: bool = True  # says what was used
    knows_stream_options: bool = True  # else refuses them
    streams: bool = True  # else answers a stream with a whole completion
    status: int = 200
    message: str = "out of order"  # of an error
    retry_after: float | None = None
    first_seconds: float = 0.0  # before the first byte
    each_seconds: float = 0.0  # before every word
    drop_after: int | None = None  # words after which the connection is cut; 0: before the head
    ends_without_done: bool = False
    not_json: bool = False
    error_after: int | None = None  # words after which an error comes in the stream
    keeps_writing: bool = False  # what is asked for is written, whether anybody reads it or not
    tool_call: str = ""  # name of a function that is called instead
    crlf: bool = False
    padding: int = 0  # more bytes in each chunk


@dataclass
class Used:
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class MockUpstream:
    """Behaviours are taken in turn, one for each request; the last one stays."""

    behaviours: list[Behaviour] = field(default_factory=lambda: [Behaviour()])
    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = None  # that it wants to see
    models: tuple[str, ...] = ("mock",)  # that it lists
    served: dict[str, Used] = field(default_factory=lambda: defaultdict(Used))  # by request id
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    @classmethod
    def of(cls, *behaviours: Behaviour, **more: Any) -> Self:
        return cls(list(behaviours) or [Behaviour()], **more)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    @property
    def usage_url(self) -> str:
        return f"http://{self.host}:{self.port}/usage/{{request_id}}"

    @property
    def total(self) -> Used:
        found = Used()
        for used in self.served.values():
            found.calls += used.calls
            found.prompt_tokens += used.prompt_tokens
            found.completion_tokens += used.completion_tokens
        return found

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/usage/{request_id}", self._usage)
        app.router.add_get("/usage", self._total)
        # Without this a handler runs on when its client hangs up.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _usage(self, request: web.Request) -> web.Response:
        used = self.served.get(request.match_info["request_id"])
        if used is None:
            return web.json_response({"error": {"message": "no such request"}}, status=404)
        return web.json_response(vars(used))

    async def _total(self, request: web.Request) -> web.Response:
        return web.json_response(vars(self.total))

    async def _models(self, request: web.Request) -> web.Response:
        given = request.headers.get("authorization", "")
        if self.key is not None and given != f"Bearer {self.key}":
            error = {"message": f"wrong key {given}", "code": "invalid_api_key"}
            return web.json_response({"error": error}, status=401)
        data = [{"id": name, "object": "model"} for name in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if len(self.bodies) > 1 and len(self.behaviours) > 1:
            self.behaviours.pop(0)
        how = self.behaviours[0]
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await _Answer(self, request, body, how).response()
        finally:
            self.running -= 1


class _Answer:
    def __init__(
        self, upstream: MockUpstream, request: web.Request, body: dict[str, Any], how: Behaviour
    ) -> None:
        self.upstream, self.request, self.body, self.how = upstream, request, body, how
        self.id = request.headers.get("x-client-request-id", "")
        self.prompt = sum(len(str(m.get("content") or "").split()) for m in body["messages"])
        most = body.get("max_completion_tokens") or body.get("max_tokens") or how.words
        self.count = min(how.words, most)
        self.reason = "stop" if self.count == how.words else "length"
        self.written = 0

    async def response(self) -> web.StreamResponse:
        how = self.how
        if how.first_seconds:
            await asyncio.sleep(how.first_seconds)
        if self.upstream.key is not None:
            given = self.request.headers.get("authorization", "")
            if given != f"Bearer {self.upstream.key}":
                return self._error(401, f"wrong key {given}")
        if how.status != 200:
            return self._error(how.status, how.message)
        if "stream_options" in self.body and not how.knows_stream_options:
            return self._error(400, "unknown field stream_options")
        if how.not_json:
            return web.Response(text="<html>", content_type="text/html")
        used = self.upstream.served[self.id]
        used.calls += 1
        used.prompt_tokens += self.prompt
        if how.drop_after == 0:
            self._cut()
        if self.body.get("stream") and how.streams:
            return await self._stream()
        for _ in range(self.count):
            await self._word()
        return web.json_response(self._whole())

    async def _word(self) -> str:
        if self.how.each_seconds:
            await asyncio.sleep(self.how.each_seconds)
        self.upstream.served[self.id].completion_tokens += 1
        self.written += 1
        text = f"{self.how.prefix}{self.written - 1}"
        return text if self.written == 1 else f" {text}"

    async def _stream(self) -> web.StreamResponse:
        how = self.how
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(self.request)
        wanted = (self.body.get("stream_options") or {}).get("include_usage")
        try:
            await self._send(response, {"delta": {"role": "assistant", "content": ""}})
            if how.tool_call:
                call = {"name": how.tool_call, "arguments": "{}"}
                calls = [{"index": 0, "id": "call_1", "type": "function", "function": call}]
                await self._send(response, {"delta": {"tool_calls": calls}})
            for number in range(self.count):
                if number == how.drop_after:
                    self._cut()
                if number == how.error_after:
                    await self._event(response, {"error": {"message": how.message}})
                    return response
                await self._send(response, {"delta": {"content": await self._word()}})
            reason = "tool_calls" if how.tool_call else self.reason
            await self._send(response, {"delta": {}, "finish_reason": reason})
            if wanted and how.counts:
                await self._event(response, {**self._head(), "choices": [], "usage": self._used()})
            if not how.ends_without_done:
                await self._event(response, "[DONE]")
        except (ConnectionError, asyncio.CancelledError):
            if how.keeps_writing:
                self.upstream.served[self.id].completion_tokens += self.count - self.written
            raise
        return response

    async def _send(self, response: web.StreamResponse, choice: dict[str, Any]) -> None:
        whole = {"index": 0, "finish_reason": None, "logprobs": None, **choice}
        chunk = {**self._head(), "choices": [whole]}
        if (self.body.get("stream_options") or {}).get("include_usage"):
            chunk["usage"] = None
        if self.how.padding:
            chunk["padding"] = "x" * self.how.padding
        await self._event(response, chunk)

    async def _event(self, response: web.StreamResponse, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
        end = "\r\n\r\n" if self.how.crlf else "\n\n"
        await response.write(f"data: {text}{end}".encode())

    def _head(self) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": f"{self.body['model']}-2026",
        }

    def _whole(self) -> dict[str, Any]:
        text = " ".join(f"{self.how.prefix}{number}" for number in range(self.count))
        message: dict[str, Any] = {"role": "assistant", "content": text}
        choices = [
            {"index": index, "message": message, "finish_reason": self.reason}
            for index in range(self.body.get("n") or 1)
        ]
        whole = {**self._head(), "object": "chat.completion", "choices": choices}
        return {**whole, "usage": self._used()} if self.how.counts else whole

    def _used(self) -> dict[str, int]:
        total = self.prompt + self.written
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.written,
            "total_tokens": total,
        }

    def _error(self, status: int, message: str) -> web.Response:
        headers = {}
        if self.how.retry_after is not None:
            headers["retry-after"] = str(self.how.retry_after)
        error = {"message": message, "type": "mock_error", "code": "mock", "param": None}
        return web.json_response({"error": error}, status=status, headers=headers)

    def _cut(self) -> None:
        assert self.request.transport is not None
        self.request.transport.abort()
        raise ConnectionResetError("cut by the test")


async def _serve(upstream: MockUpstream) -> None:
    async with upstream:
        print(upstream.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--words", type=int, default=5)
    parser.add_argument("--each-seconds", type=float, default=0.0)
    parser.add_argument("--padding", type=int, default=0)
    given = parser.parse_args()
    how = Behaviour(given.words, each_seconds=given.each_seconds, padding=given.padding)
    asyncio.run(_serve(MockUpstream.of(how, port=given.port)))
