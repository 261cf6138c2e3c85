"""What the gateway adds to a call of the cloud: through it minus direct, on the wall clock.

    python bench/gateway_overhead.py [--requests 3000] [--at-once 32] [--litellm PATH] [--out FILE]

Four ways to one mock upstream, one worker each, asked in turn over one kept connection, so that
they share whatever the machine does meanwhile:

    direct      the upstream itself
    bare        a relay of ten lines, Starlette on uvicorn and aiohttp: no key, no ledger, no event
    understudy  understudy serve --local none, `model: cloud`: ledger with two caps and events on,
                SQLite without a flush of every commit (store.durable=false), as is the default
    litellm     the LiteLLM proxy, where --litellm names its program in an environment of its own

Questions and answers have about 1 KB. `whole` is an answer in one piece, `first` the first chunk of
a stream. Figures are milliseconds; `over_direct` and `over_bare` are differences of the medians and
of the 99th percentiles. `rate`: requests a second with so many at once, and the processor's seconds
for each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

from understudy.environment import environment

_WAIT_SECONDS = 120.0
WORDS = "word " * 150  # with the rest about 1 KB
QUESTION = {
    "model": "cloud",
    "max_tokens": 200,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant. " * 10},
        {"role": "user", "content": WORDS[:600]},
    ],
}
_USAGE = {"prompt_tokens": 200, "completion_tokens": 150, "total_tokens": 350}
_HEAD = {"id": "chatcmpl-mock", "created": 1, "model": "mock"}
_CHUNKS = 16


def whole_answer() -> bytes:
    message = {"role": "assistant", "content": WORDS}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = {**_HEAD, "object": "chat.completion", "choices": choices, "usage": _USAGE}
    return json.dumps(answer).encode()


def streamed_answer() -> bytes:
    def chunk(choices: list[Any], **more: Any) -> bytes:
        whole = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
        return b"data: " + json.dumps(whole).encode() + b"\n\n"

    delta = {"index": 0, "delta": {"content": "word " * 10}, "finish_reason": None}
    parts = [chunk([delta]) for _ in range(_CHUNKS)]
    parts.append(chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    return b"".join([*parts, chunk([], usage=_USAGE), b"data: [DONE]\n\n"])


class Upstream(asyncio.Protocol):
    """Answers as soon as a request is whole; nothing is faster in Python."""

    WHOLE = whole_answer()
    STREAM = streamed_answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.rest = cast(asyncio.Transport, transport), b""

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, _, body = self.rest.partition(b"\r\n\r\n")
            size = _content_length(head)
            if len(body) < size:
                return
            self.rest = body[size:]
            streams = b'"stream":true' in body.replace(b" ", b"")
            self.transport.write(self._answer(streams))

    def _answer(self, streams: bool) -> bytes:
        if not streams:
            kind, body = b"application/json", self.WHOLE
            head = b"content-length: %d\r\n" % len(body)
        else:
            kind, head = b"text/event-stream", b"transfer-encoding: chunked\r\n"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(self.STREAM), self.STREAM)
        return b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\n" + head + b"\r\n" + body


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def run_upstream(port: int) -> None:
    async def go() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
        async with server:
            await server.serve_forever()

    import uvloop

    uvloop.run(go())


def run_bare(port: int, upstream: str) -> None:
    """What every gateway in this language does at least."""
    import aiohttp
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    sessions: list[aiohttp.ClientSession] = []

    async def answer(request: Request) -> Response:
        if not sessions:
            sessions.append(aiohttp.ClientSession())
        body = await request.body()
        headers = {"content-type": "application/json"}
        response = await sessions[0].post(upstream, data=body, headers=headers)
        if response.content_type != "text/event-stream":
            return Response(await response.read(), media_type="application/json")

        async def chunks() -> AsyncIterator[bytes]:
            async for piece in response.content.iter_any():
                yield piece

        return StreamingResponse(chunks(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical", access_log=False)


class Client:
    """One kept connection."""

    def __init__(self, port: int, model: str) -> None:
        self.port, self.model = port, model

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, stream: bool) -> float:
        """Seconds until the answer, or until its first chunk."""
        body = json.dumps({**QUESTION, "model": self.model, "stream": stream}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
            "authorization: Bearer sk-none\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        started = time.perf_counter()
        self.writer.write(head.encode() + body)
        found = await self.reader.readuntil(b"\r\n\r\n")
        if not found.startswith(b"HTTP/1.1 200"):
            rest = await self.reader.read(2000)
            raise RuntimeError((found + rest).decode(errors="replace"))
        if b"chunked" not in found.lower():
            await self.reader.readexactly(_content_length(found))
            return time.perf_counter() - started
        first = 0.0
        while size := int(await self.reader.readline(), 16):
            await self.reader.readexactly(size + 2)
            first = first or time.perf_counter() - started
        await self.reader.readline()
        return first or time.perf_counter() - started


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def process(command: list[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Begun when its port answers."""
    with (folder / f"{port}.log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if running.poll() is not None or time.monotonic() > until:
                raise RuntimeError((folder / f"{port}.log").read_text()[-2000:])
            time.sleep(0.1)
        yield running
    finally:
        running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(20)
        running.kill()
        running.wait()


def litellm_config(folder: Path, upstream: str) -> Path:
    params = {"model": "openai/mock", "api_base": upstream, "api_key": "sk-none"}
    path = folder / "litellm.json"  # JSON is YAML too
    path.write_text(json.dumps({"model_list": [{"model_name": "cloud", "litellm_params": params}]}))
    return path


@contextlib.contextmanager
def ways(folder: Path, litellm: str) -> Iterator[dict[str, tuple[int, str, int]]]:
    """By name: port, the model to ask for, the process."""
    python, own = [sys.executable], [sys.executable, str(Path(__file__).resolve())]
    ports = {name: free_port() for name in ("direct", "bare", "understudy", "litellm")}
    base = f"http://127.0.0.1:{ports['direct']}/v1"
    commands = {
        "direct": [*own, "--role", "upstream", "--port", str(ports["direct"])],
        "bare": [*own, "--role", "bare", "--port", str(ports["bare"]), "--upstream", base],
        "understudy": [
            *(*python, "-m", "understudy", "serve", "--local", "none", "--cloud", base),
            *("--cloud-model", "mock", "--prices", "1/4", "--port", str(ports["understudy"])),
            *("--max-dollars", "1000/day", "--max-calls", "1e9/month"),
            *("--store", str(folder / "gateway.db")),
        ],
    }
    if litellm:
        config = litellm_config(folder, base)
        commands["litellm"] = [
            *(litellm, "--config", str(config), "--host", "127.0.0.1"),
            *("--port", str(ports["litellm"]), "--num_workers", "1"),
        ]
    with contextlib.ExitStack() as stack:
        found = {}
        for name, command in commands.items():
            running = stack.enter_context(process(command, ports[name], folder))
            found[name] = (ports[name], "mock" if name == "direct" else "cloud", running.pid)
        yield found


async def in_turn(
    found: dict[str, tuple[int, str, int]], requests: int, stream: bool
) -> dict[str, list[float]]:
    clients = {name: Client(port, model) for name, (port, model, _) in found.items()}
    for client in clients.values():
        await client.open()
        for _ in range(min(50, requests)):
            await client.ask(stream)
    times: dict[str, list[float]] = {name: [] for name in clients}
    order, luck = list(clients), random.Random(0)
    for _ in range(requests):
        luck.shuffle(order)
        for name in order:
            times[name].append(await clients[name].ask(stream) * 1e3)
    return times


async def rate(port: int, model: str, pid: int, requests: int, at_once: int) -> dict[str, float]:
    """Requests a second, and what one takes of a processor in the gateway's process."""
    clients = [Client(port, model) for _ in range(at_once)]
    for client in clients:
        await client.open()
        await client.ask(False)
    before, started = processor_seconds(pid), time.perf_counter()

    async def work(client: Client) -> None:
        for _ in range(requests // at_once):
            await client.ask(False)

    await asyncio.gather(*map(work, clients))
    seconds = time.perf_counter() - started
    count = requests // at_once * at_once
    return {
        "requests_per_second": count / seconds,
        "processor_milliseconds": (processor_seconds(pid) - before) / count * 1e3,
        "memory_megabytes": memory(pid),
    }


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def summed_up(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    found = {}
    figures = {
        name: (statistics.median(each), sorted(each)[int(len(each) * 0.99)])
        for name, each in times.items()
    }
    for name, (median, high) in figures.items():
        found[name] = {"median": median, "p99": high}
        for other in ("direct", "bare"):
            if other != name:
                found[name] |= {
                    f"median_over_{other}": median - figures[other][0],
                    f"p99_over_{other}": high - figures[other][1],
                }
    return found


async def measure(given: Any, found: dict[str, tuple[int, str, int]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, stream in (("whole", False), ("first", True)):
        result[name] = summed_up(await in_turn(found, given.requests, stream))
        for way, figures in result[name].items():
            print(name, way, {key: round(value, 3) for key, value in figures.items()}, flush=True)
    if given.at_once:
        result["rate"] = {}
        for name, (port, model, pid) in found.items():
            figures = await rate(port, model, pid, given.requests, given.at_once)
            result["rate"][name] = figures
            print("rate", name, {key: round(value, 3) for key, value in figures.items()})
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--litellm", default="", help="its program, in an environment of its own")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--role", choices=["upstream", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--upstream", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "upstream":
        run_upstream(given.port)
        return
    if given.role == "bare":
        run_bare(given.port, f"{given.upstream}/chat/completions")
        return
    with tempfile.TemporaryDirectory() as folder, ways(Path(folder), given.litellm) as found:
        result = asyncio.run(measure(given, found))
    if given.out:
        settings = {"requests": given.requests, "at_once": given.at_once}
        record = {"environment": environment(), "settings": settings, **result}
        given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
