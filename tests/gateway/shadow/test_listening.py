"""Live traffic passes unchanged, whatever becomes of its copies."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.gateway.gateways import ScriptedEngine
from tests.gateway.served import ROOT, child_environment
from tests.gateway.serving import eventually
from tests.gateway.shadow.endpoint import endpoint
from tests.gateway.shadow.logged import asked, completion
from understudy.clouds.events import LONGEST_EVENT
from understudy.errors import ConfigError, UnderstudyError
from understudy.gateway.shadow.copies import call_of
from understudy.gateway.shadow.formats import UnusableError
from understudy.gateway.shadow.listening import _Server, address_of, beside_traffic, listen
from understudy.gateway.shadow.logs import read_logs
from understudy.gateway.shadow.passing import Copied, Passing
from understudy.gateway.shadow.settings import ShadowSettings
from understudy.gateway.shadow.watching import Watching

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def upstream(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def passed(base: str, told: Callable[[Copied], None]) -> AsyncIterator[str]:
    """The relay's URL up to /v1."""
    passing, ready = Passing(base, told), asyncio.Event()
    found: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await passing.open()
        yield
        await passing.close()

    def on_ready(url: str) -> None:
        found.append(url)
        ready.set()

    app = Starlette(routes=[Mount("/", app=passing)], lifespan=lifespan)
    server = _Server(app, ("127.0.0.1", 0), on_ready)
    running = asyncio.create_task(server.serve())
    await ready.wait()
    try:
        yield f"{found[0]}/v1"
    finally:
        server.should_exit = server.force_exit = True
        await running


def test_requests_and_answers_pass_byte_for_byte() -> None:
    content = gzip.compress(json.dumps(completion("2")).encode())
    seen: list[tuple[Any, ...]] = []

    async def handler(request: web.Request) -> web.Response:
        heads = {n: v for n, v in request.headers.items() if n not in ("Host",)}
        seen.append((request.method, request.raw_path, heads, await request.read()))
        return web.Response(
            body=content,
            status=203,
            headers={"content-encoding": "gzip", "content-type": "application/json", "x-own": "1"},
        )

    async def both() -> None:
        copies: list[Copied] = []
        asking = b'{ "model":"gpt-x",  "messages":[{"role":"user","content":"1+1"}] }'
        heads = {"authorization": "Bearer secret", "content-type": "application/json"}
        answers = []
        async with (
            upstream(handler) as base,
            passed(base, copies.append) as relay,
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            for url in (base, relay):
                path = f"{url}/chat/completions?a=%2F&b"
                async with session.post(path, data=asking, headers=heads) as response:
                    kept = [h for h in response.raw_headers if h[0].lower() not in (b"date",)]
                    lower = sorted((name.lower(), value) for name, value in kept)
                    answers.append((response.status, lower, await response.read()))
        assert answers[0] == answers[1]
        assert seen[0] == seen[1]
        assert [(c.asked, c.answered, c.status, c.whole) for c in copies] == [
            (asking, content, 203, True)
        ]

    asyncio.run(both())


def test_other_paths_pass_and_leave_no_copy() -> None:
    async def handler(request: web.Request) -> web.Response:
        size = len(await request.read())
        return web.json_response({"path": request.path, "size": size}, status=201)

    async def pass_them() -> None:
        copies: list[Copied] = []
        async with (
            upstream(handler) as base,
            passed(base, copies.append) as relay,
            aiohttp.ClientSession() as session,
        ):
            async with session.get(f"{relay}/models") as response:
                assert await response.json() == {"path": "/v1/models", "size": 0}
            async with session.post(f"{relay}/embeddings", data=b"x" * 300_000) as response:
                assert (response.status, (await response.json())["size"]) == (201, 300_000)
        assert copies == []

    asyncio.run(pass_them())


def test_a_stream_passes_while_it_comes_and_stops_when_its_client_hangs_up() -> None:
    async def watched() -> None:
        go_on, hung_up = asyncio.Event(), asyncio.Event()

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"data: 1\n\n")
            try:
                await go_on.wait()
                await response.write(b"data: 2\n\n")
                await asyncio.sleep(60)
            except (asyncio.CancelledError, ConnectionError):
                hung_up.set()
                raise
            return response

        copies: list[Copied] = []
        async with (
            upstream(handler) as base,
            passed(base, copies.append) as relay,
            aiohttp.ClientSession() as session,
            asyncio.timeout(60),
        ):
            async with session.post(f"{relay}/chat/completions", json={}) as response:
                assert await response.content.readuntil(b"\n\n") == b"data: 1\n\n"
                go_on.set()
                assert await response.content.readuntil(b"\n\n") == b"data: 2\n\n"
                response.close()
            await hung_up.wait()
            while not copies:
                await asyncio.sleep(0.01)
        assert not copies[0].whole

    asyncio.run(watched())


def test_a_cloud_that_cannot_be_reached_is_an_error_of_openais_shape() -> None:
    async def ask() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            base = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        copies: list[Copied] = []
        async with passed(base, copies.append) as relay, aiohttp.ClientSession() as session:
            response = await session.post(f"{relay}/chat/completions", json={})
            assert response.status == 502
            assert (await response.json())["error"]["type"] == "upstream_error"

    asyncio.run(ask())


def copied(response: bytes, **more: Any) -> Copied:
    fields: dict[str, Any] = {
        "at": time.time(),
        "seconds": 0.1,
        "asked": json.dumps({"model": "gpt-x", "messages": asked("1+1")}).encode(),
        "status": 200,
        "type": "application/json",
        "encoding": "",
        "answered": response,
        "whole": True,
    }
    return Copied(**fields | more)


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks)


def delta(text: str | None = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text, **more}, "finish_reason": reason}
    return {"id": "c", "model": "gpt-x", "choices": [choice]}


def test_a_copied_stream_is_put_together_with_usage_or_without() -> None:
    pieces = sse(delta("4"), delta("2"), delta(reason="stop"))
    call = call_of(copied(pieces + b"data: [DONE]\n\n", type="text/event-stream"), "call 1")
    assert (call.answer, call.prompt_tokens) == ("42", None)
    usage = {"id": "c", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    call = call_of(copied(pieces + sse(usage), type="text/event-stream"), "call 1")
    assert (call.prompt_tokens, call.completion_tokens) == (5, 2)


def test_a_copied_stream_that_calls_a_tool_says_so() -> None:
    call = {"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}
    pieces = sse(delta(tool_calls=[call]), delta(reason="tool_calls"))
    assert call_of(copied(pieces, type="text/event-stream"), "call 1").not_text == "calls a tool"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (copied(b"{}", whole=False), "did not come to its end"),
        (copied(b"{}", status=429), "calls that failed"),
        (copied(b"{"), "no JSON"),
        (copied(b"x", encoding="br"), "packed as br"),
        (copied(b"x", encoding="gzip"), "cannot be unpacked"),
        (copied(sse(delta("4")), type="text/event-stream"), "did not come to its end"),
        (copied(sse({"error": {"message": "no"}}), type="text/event-stream"), "failed"),
        (copied(b"{}", asked=b"\xff"), "no JSON"),
        (copied(sse({"choices": 7}, delta("4")), type="text/event-stream"), "come to its end"),
        (
            # What an event of a picture may unpack to: more than a stream's reader takes.
            copied(
                gzip.compress(b"data: " + b"x" * (LONGEST_EVENT + 1), 1, mtime=0),
                encoding="gzip",
                type="text/event-stream",
            ),
            "too long to copy",
        ),
    ],
)
def test_a_copy_that_says_nothing_is_refused_with_its_reason(bad: Copied, reason: str) -> None:
    with pytest.raises(UnusableError, match=reason):
        call_of(bad, "call 1")


def watching(folder: Path, **given: Any) -> Watching:
    return Watching(ShadowSettings(prices="1/1", **given), folder, lambda text: None)


def chat(question: str, answer: str) -> Copied:
    body = json.dumps({"model": "gpt-x", "messages": asked(question)}).encode()
    id = f"c-{question}"
    return copied(json.dumps(completion(answer, id)).encode(), asked=body)


def test_copies_become_events_local_answers_and_a_report(tmp_path: Path) -> None:
    """The engine repeats the question, and asks for help where that says so."""

    async def watch() -> Watching:
        found = watching(tmp_path)
        found.start(ScriptedEngine())
        for number in range(40):
            hard = number % 4 == 0
            question = f"margin=3 {number}" if hard else f"{number}"
            found.copy(chat(question, "no" if hard else question))
        found.copy(copied(b"{"))
        async with asyncio.timeout(60):
            while len(found.answers) < 40:
                await asyncio.sleep(0.01)
        await found.close()
        return found

    done = asyncio.run(watch()).report()
    assert (done.found.calls, done.found.asked, done.found.wrong.share) == (40, 0.25, 0.0)
    assert done.source.left_out == ("1 are no JSON (first: call 41)",)
    assert done.found.paid == pytest.approx(40 * 14 / 1e6)
    assert (tmp_path / "report.html").is_file()


def test_what_finds_no_room_is_dropped_and_counted_and_nobody_waits(tmp_path: Path) -> None:
    found = watching(tmp_path)  # not started: nobody takes copies from the queue
    for number in range(1030):
        found.copy(chat(str(number), "x"))
    assert found.dropped == 1030 - 1024
    found._writer.close()


def test_a_local_engine_that_fails_or_is_slow_costs_the_traffic_nothing(tmp_path: Path) -> None:
    async def watch() -> Watching:
        found = watching(tmp_path)
        found.start(ScriptedEngine())
        for number in range(20):
            found.copy(chat(f"broken {number}", "x"))
        async with asyncio.timeout(60):
            while found.unanswered < 20:
                await asyncio.sleep(0.01)
        await found.close()
        return found

    found = asyncio.run(watch())
    assert (found.copied, found.unanswered, found.answers) == (20, 20, {})
    with pytest.raises(ConfigError, match="only 0 calls could be compared"):
        found.report()


def test_a_copy_that_is_a_fault_of_ours_is_counted_and_the_next_is_read(tmp_path: Path) -> None:
    found = watching(tmp_path)

    async def watch() -> None:
        found.start(ScriptedEngine())
        found.copy(copied(b"{}", asked=None))  # which no relay makes
        found.copy(chat("2", "2"))
        await found.close()

    asyncio.run(watch())
    assert found.left_out.reasons == {"could not be read": 1}
    assert [each.answer for each in read_logs([found.store]).calls] == ["2"]


def test_live_traffic_needs_prices_and_an_address() -> None:
    with pytest.raises(ConfigError, match="give --cloud-prices"):
        beside_traffic(ShadowSettings())
    assert beside_traffic(ShadowSettings(prices="1/1")).local.threads == 1
    with pytest.raises(ConfigError, match="write HOST:PORT"):
        address_of("here")


def test_a_port_that_is_taken_is_said_before_a_model_is_opened(tmp_path: Path) -> None:
    settings = ShadowSettings.model_validate({"prices": "1/1", "local": {"path": "./missing.gguf"}})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = taken.getsockname()
        said = f"--listen 127.0.0.1:{address[1]}: cannot listen there .*in use"
        with pytest.raises(ConfigError, match=said):
            listen(settings, "http://localhost:9/v1", address, tmp_path, print, print)
        with pytest.raises(UnderstudyError, match=r"missing\.gguf"):
            listen(settings, "http://localhost:9/v1", ("127.0.0.1", 0), tmp_path, print, print)


def test_the_command_passes_traffic_and_reports_when_it_is_stopped(tmp_path: Path) -> None:
    """A local engine by URL that answers as the cloud does."""

    answered: list[str] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        text = body.get("messages", asked("probe"))[-1]["content"]
        answered.append(text)
        found = completion(text, f"c-{text}")
        token = {"token": "x", "logprob": -len(text) / 10, "bytes": None, "top_logprobs": []}
        found["choices"][0]["logprobs"] = {"content": [token]}
        return found

    with endpoint(answer) as local, endpoint(answer) as cloud:
        command = [sys.executable, "-m", "understudy", "shadow", "--listen", "0", "--json"]
        command += ["--cloud", cloud, "--local", local, "--cloud-prices", "1/1"]
        running = subprocess.Popen(
            [*command, "--out", str(tmp_path)],
            cwd=ROOT,
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stderr is not None
        said = running.stderr.readline()
        address = re.search(r"http://\S+/v1", said)
        assert address is not None, said
        questions = ["x" * (number % 15 + 1) + str(number) for number in range(30)]
        for question in questions:
            body = {"model": "gpt-x", "messages": asked(question)}
            request = urllib.request.Request(
                f"{address[0]}/chat/completions",
                json.dumps(body).encode(),
                {"content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                assert json.loads(response.read())["choices"][0]["message"]["role"] == "assistant"
        eventually(lambda: min(map(answered.count, questions)) == 2)  # by the cloud, and locally
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    found = json.loads(out)
    assert (found["calls"], found["wrong"]["share"], found["would_pay"]) == (30, 0.0, 0.0)
    assert (tmp_path / "report.html").is_file()
