"""A real HTTP server on loopback whose every answer a test scripts."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Script = Callable[["Call"], Awaitable[web.StreamResponse]]

USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60},
}


@dataclass
class Call:
    """One request as it arrived."""

    number: int  # from 0
    body: dict[str, Any]
    headers: dict[str, str]
    path: str
    arrived: float
    request: web.Request

    @property
    def prompt(self) -> str:
        content: str = self.body["messages"][-1]["content"]
        return content

    def reset(self) -> web.StreamResponse:
        """Tear the connection down; what was not sent never will be."""
        assert self.request.transport is not None
        self.request.transport.abort()
        raise asyncio.CancelledError


@dataclass
class EndpointServer:
    """What a test sees of the server."""

    script: Script
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = json.loads(await request.read() or b"{}")
        call = Call(len(self.calls), body, headers, request.path, time.monotonic(), request)
        self.calls.append(call)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.script(call)
        finally:
            self.in_flight -= 1


@contextmanager
def serving(script: Script) -> Iterator[EndpointServer]:
    """The server, in a thread and an event loop of its own."""
    server, ready = EndpointServer(script), threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        server.url = f"http://127.0.0.1:{port}/v1"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def completion(text: str | None = "four", **changes: Any) -> dict[str, Any]:
    """A whole completion as OpenAI documents it; `message`, `choice` and `top` change parts."""
    message = {"role": "assistant", "content": text, "refusal": None}
    message |= changes.pop("message", {})
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    choice |= changes.pop("choice", {})
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "big-2026-01-01",
        "choices": [choice],
        "usage": USAGE,
    }
    return whole | changes


def chunk(
    content: str | None = None, finish_reason: str | None = None, **changes: Any
) -> dict[str, Any]:
    """One chunk of a stream as OpenAI documents it."""
    delta = {"content": content} if content is not None else {}
    delta |= changes.pop("delta", {})
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "big-2026-01-01",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        "usage": None,
    }
    return whole | changes


def events(*chunks: dict[str, Any] | str) -> bytes:
    """Server-sent events, one per chunk; a text is sent as it is."""
    data = (each if isinstance(each, str) else json.dumps(each) for each in chunks)
    return "".join(f"data: {each}\n\n" for each in data).encode()


def streamed(text_pieces: list[str], usage: dict[str, Any] | None = None) -> bytes:
    """A whole stream of an answer, with its usage in a chunk without choices."""
    chunks: list[dict[str, Any] | str] = [chunk("", delta={"role": "assistant"})]
    chunks += [chunk(piece) for piece in text_pieces]
    chunks.append(chunk(finish_reason="stop"))
    if usage is not None:
        chunks.append(chunk(choices=[], usage=usage))
    return events(*chunks, "[DONE]")


async def send_stream(
    call: Call, pieces: list[bytes], whole: bool = True, pause: float = 0.0
) -> web.StreamResponse:
    """Send an event stream piece by piece; one that is not whole ends in a reset."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(call.request)
    for piece in pieces:
        await response.write(piece)
        await asyncio.sleep(pause)
    if not whole:
        return call.reset()
    await response.write_eof()
    return response


def answering(*responses: Callable[[], web.Response]) -> Script:
    """The responses in turn, the last of them for ever."""

    async def script(call: Call) -> web.StreamResponse:
        return responses[min(call.number, len(responses) - 1)]()

    return script


def ok(**changes: Any) -> Callable[[], web.Response]:
    return lambda: web.json_response(completion(**changes))


def refused(
    status: int, body: Any = None, headers: dict[str, str] | None = None
) -> Callable[[], web.Response]:
    content = body if body is not None else {"error": {"message": f"status {status}"}}
    return lambda: web.json_response(content, status=status, headers=headers)


def sent(content: bytes, content_type: str = "application/json") -> Callable[[], web.Response]:
    """A response of status 200 with these bytes."""
    return lambda: web.Response(body=content, headers={"Content-Type": content_type})
