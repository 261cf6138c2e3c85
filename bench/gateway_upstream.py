"""A paid model on a socket, for measurements: quick, and with a book of what it served.

    python bench/gateway_upstream.py --port 9000 --tokens 1-64

It speaks OpenAI's chat completions, streamed or not. A token is a word of 8 bytes. An answer has as
many as --tokens says, drawn by the request's x-client-request-id, or max_tokens where that is less.
It serves on when whoever called hangs up, as hosted models do, and bills all of it.

    GET /usage/ID   what was served for that id: 404 never heard of it, 409 still at it
    GET /book       all of it: {id: [calls, prompt tokens, completion tokens, when it was done]}
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

_WORD = b"abcdefg "


@dataclass
class Served:
    calls: int = 0
    prompt: int = 0
    completion: int = 0
    done: float = 0.0  # 0: still at it; seconds of the monotonic clock

    def usage(self) -> dict[str, int]:
        return {
            "calls": self.calls,
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
        }


@dataclass
class Upstream:
    least: int = 64
    most: int = 64
    first_seconds: float = 0.0  # before the first byte
    each_seconds: float = 0.0  # before every further token of a stream
    book: dict[str, Served] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    keeps_book: bool = True  # of every call; else only of the last

    def usage(self, name: str) -> tuple[int, Any]:
        found = self.book.get(name)
        if found is None:
            return 404, {"error": {"message": "no such request"}}
        return (200, found.usage()) if found.done else (409, {"error": {"message": "still at it"}})

    def begun(self, name: str, body: dict[str, Any]) -> tuple[Served, int]:
        """The entry of a call, and how long its answer will be."""
        if not self.keeps_book:
            self.book.clear()
        served = self.book.setdefault(name, Served())
        said = sum(len(str(each.get("content") or "").split()) for each in body["messages"])
        served.calls, served.prompt, served.done = served.calls + 1, served.prompt + said, 0.0
        drawn = self.least
        if self.most > self.least:
            drawn = random.Random(name).randint(self.least, self.most)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or drawn
        return served, min(drawn, limit)


class Connection(asyncio.Protocol):
    """HTTP/1.1 as our own clients speak it: Content-Length, one request after the other."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream, self.buffer = upstream, b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.buffer[:end].split(b"\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in lines if b": " in line)
            size = int(headers.get(b"content-length", 0))
            if len(self.buffer) < end + 4 + size:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + size], self.buffer[end + 4 + size :]
            method, path, _ = first.decode().split(" ")
            self._serve(method, path, headers, body)

    def _serve(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes) -> None:
        upstream = self.upstream
        if method == "POST" and path == "/v1/chat/completions":
            name = headers.get(b"x-client-request-id", b"").decode()
            given = orjson.loads(body)
            served, count = upstream.begun(name, given)
            if not (upstream.first_seconds or given.get("stream")):
                self._whole(given, name, served, count)
                return
            work = self._slowly if not given.get("stream") else self._stream
            task = asyncio.get_running_loop().create_task(work(given, name, served, count))
            upstream.tasks.add(task)  # runs on when the connection is lost
            task.add_done_callback(upstream.tasks.discard)
        elif path.startswith("/usage/"):
            self._json(*upstream.usage(path.removeprefix("/usage/")))
        elif path == "/book":
            found = {
                name: [each.calls, each.prompt, each.completion, each.done]
                for name, each in upstream.book.items()
            }
            self._json(200, found)
        else:
            self._json(200, {"object": "list", "data": [{"id": "mock", "object": "model"}]})

    async def _slowly(self, given: Any, name: str, served: Served, count: int) -> None:
        await asyncio.sleep(self.upstream.first_seconds)
        self._whole(given, name, served, count)

    def _whole(self, given: Any, name: str, served: Served, count: int) -> None:
        served.completion += count
        served.done = time.monotonic()
        message = {"role": "assistant", "content": (_WORD * count).decode()}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        found = {**_head(given, name, "chat.completion"), "choices": [choice]}
        self._json(200, {**found, "usage": _usage(served.prompt, count)})

    async def _stream(self, given: Any, name: str, served: Served, count: int) -> None:
        head = _head(given, name, "chat.completion.chunk")
        if self.upstream.first_seconds:
            await asyncio.sleep(self.upstream.first_seconds)
        self._write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for number in range(count):
            if number and self.upstream.each_seconds:
                await asyncio.sleep(self.upstream.each_seconds)
            delta = {"content": _WORD.decode()} | ({} if number else {"role": "assistant"})
            served.completion += 1
            self._event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        served.done = time.monotonic()
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        self._event({**head, "choices": [last]})
        if (given.get("stream_options") or {}).get("include_usage"):
            self._event({**head, "choices": [], "usage": _usage(served.prompt, count)})
        self._write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def _event(self, content: Any) -> None:
        data = b"data: %b\n\n" % orjson.dumps(content)
        self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def _json(self, status: int, content: Any) -> None:
        data = orjson.dumps(content)
        self._write(
            b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(data), data)
        )

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)


def _head(given: Any, name: str, kind: str) -> dict[str, Any]:
    model = given["model"]
    return {"id": f"chatcmpl-{name}", "object": kind, "created": int(time.time()), "model": model}


def _usage(prompt: int, completion: int) -> dict[str, int]:
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


async def serve(upstream: Upstream, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(upstream), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tokens", default="64", help="of an answer: a number, or a range as 1-64")
    parser.add_argument("--first-ms", type=float, default=0.0, help="before the first byte")
    parser.add_argument("--each-ms", type=float, default=0.0, help="before each token of a stream")
    parser.add_argument("--no-book", action="store_true", help="remember only the last call")
    given = parser.parse_args()
    least, _, most = given.tokens.partition("-")
    upstream = Upstream(
        int(least),
        int(most or least),
        given.first_ms / 1000,
        given.each_ms / 1000,
        keeps_book=not given.no_book,
    )
    import uvloop

    uvloop.run(serve(upstream, given.port))


if __name__ == "__main__":
    main()
