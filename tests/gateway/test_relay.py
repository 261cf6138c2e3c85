"""One call of an endpoint passed through, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.clouds.events import LONGEST_EVENT
from understudy.clouds.prices import Prices
from understudy.gateway.upstreams.calls import Call, Incoming, UpstreamError
from understudy.gateway.upstreams.openai import OpenAIUpstream
from understudy.gateway.upstreams.relay import served_cost
from understudy.types import Cost

KEY = "sk-very-secret-key-of-the-test"
MESSAGES = [{"role": "user", "content": "one two three"}]  # three tokens of the mock


def settings(mock: MockUpstream, **more: Any) -> OpenAIUpstream.Settings:
    given = {"base_url": mock.url, "model": "big", "prices": {"prompt": 1.0, "completion": 10.0}}
    return OpenAIUpstream.Settings.model_validate(given | more)


def call(stream: bool = True, include_usage: bool = False, **body: Any) -> Call:
    whole = {"model": "auto", "messages": MESSAGES, "stream": stream, **body}
    return Call(whole, "request-1", include_usage)


def relayed(
    work: Callable[[OpenAIUpstream, MockUpstream], Awaitable[Any]],
    *behaviours: Behaviour,
    key: str | None = None,
    **more: Any,
) -> Any:
    """What `work` makes of an upstream that behaves so."""

    async def run() -> Any:
        async with MockUpstream.of(*behaviours, key=key) as mock:
            upstream = OpenAIUpstream("main", settings(mock, **more), key)
            try:
                return await asyncio.wait_for(work(upstream, mock), 30)
            finally:
                await upstream.close()

    return asyncio.run(run())


async def read(incoming: Incoming) -> list[dict[str, Any]]:
    found = [orjson.loads(payload) async for payload in incoming]
    await incoming.close()
    return found


def said(chunks: list[dict[str, Any]]) -> str:
    deltas = [c["choices"][0]["delta"] for c in chunks if c.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("crlf", [False, True])
def test_a_stream_passes_and_is_counted(crlf: bool) -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        incoming = await upstream.send(call(user="kept", seed=7))
        chunks = await read(incoming)
        assert said(chunks) == "word0 word1 word2 word3 word4"
        assert all("usage" not in chunk for chunk in chunks)
        assert {chunk["model"] for chunk in chunks} == {"big-2026"}
        assert incoming.counted
        assert incoming.ended
        assert incoming.text == said(chunks)
        assert incoming.cost() == Cost(1, 3, 5, dollars=(3 * 1.0 + 5 * 10.0) / 1e6)
        sent, headers = mock.bodies[0], mock.headers[0]
        assert sent["model"] == "big"
        assert (sent["user"], sent["seed"]) == ("kept", 7)
        assert sent["stream_options"] == {"include_usage": True}
        assert headers["x-client-request-id"] == "request-1"

    relayed(work, Behaviour(crlf=crlf))


def test_usage_is_for_those_who_want_it() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        options = {"include_usage": True, "unknown": 1}
        chunks = await read(await upstream.send(call(include_usage=True, stream_options=options)))
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] == 5
        assert chunks[0]["usage"] is None
        assert mock.bodies[0]["stream_options"] == options

    relayed(work)


def test_a_text_that_looks_like_a_field_stays() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        chunks = await read(await upstream.send(call()))
        assert said(chunks) == '","usage":null0'

    relayed(work, Behaviour(words=1, prefix='","usage":null'))


def test_stream_options_that_are_refused_are_left_out_from_then_on() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        for _ in range(2):
            incoming = await upstream.send(call())
            assert said(await read(incoming)) == "word0 word1 word2 word3 word4"
            assert not incoming.counted
        assert ["stream_options" in body for body in mock.bodies] == [True, False, False]
        # Six chunks with choices say something: none is less than a token.
        assert incoming.cost().completion_tokens >= 5

    relayed(work, Behaviour(knows_stream_options=False, counts=False))


def test_connections_are_kept() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> int:
        for stream in (True, False, True, True):
            incoming = await upstream.send(call(stream))
            await read(incoming)
        session = upstream._opened()._session
        return sum(len(each) for each in session.connector._conns.values())  # type: ignore[union-attr]

    assert relayed(work) == 1


def test_a_whole_answer_is_kept_as_it_came() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        incoming = await upstream.send(call(stream=False, n=2))
        assert incoming.raw is not None
        assert orjson.loads(incoming.raw) == incoming.completion
        assert len(incoming.completion["choices"]) == 2
        assert incoming.cost() == Cost(1, 3, 5, dollars=53e-6)
        assert "stream_options" not in mock.bodies[0]

    relayed(work)


def test_what_does_not_stream_gives_a_whole_answer() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        incoming = await upstream.send(call())
        assert incoming.completion is not None

    relayed(work, Behaviour(streams=False))


@pytest.mark.parametrize(
    ("behaviour", "status", "at_fault", "billed"),
    [
        (Behaviour(status=400), 400, False, False),
        (Behaviour(status=404), 404, False, False),
        (Behaviour(status=429, retry_after=7), 429, True, False),
        (Behaviour(status=500), 500, True, False),
        (Behaviour(status=504), 504, True, None),
        (Behaviour(status=503), 503, True, False),
        (Behaviour(not_json=True), None, True, None),
        (Behaviour(drop_after=0), None, True, None),
        (Behaviour(error_after=0, words=1), None, True, None),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_no_answer_says_why(
    behaviour: Behaviour, status: int | None, at_fault: bool, billed: bool | None, stream: bool
) -> None:
    if behaviour.error_after is not None:
        pytest.skip("a stream that has begun; see below")

    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(call(stream))
        error = caught.value
        assert (error.status, error.at_fault, error.billed) == (status, at_fault, billed)
        assert error.retry_after == behaviour.retry_after

    relayed(work, behaviour)


def test_nobody_there() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        await mock._runner.cleanup()
        with pytest.raises(UpstreamError, match="no connection: connection refused") as caught:
            await upstream.send(call())
        assert str(mock.port) not in str(caught.value)  # addresses are none of a caller's business
        assert caught.value.billed is False

    relayed(work)


def test_a_key_in_an_error_is_not_repeated() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        mock.key = "another"
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(call())
        assert str(caught.value) == "HTTP 401 (mock)"
        assert caught.value.body is None
        assert KEY not in repr(vars(caught.value))

    relayed(work, key=KEY)


@pytest.mark.parametrize("behaviour", [Behaviour(drop_after=3), Behaviour(error_after=3)])
def test_what_breaks_on_the_way_says_so_in_the_stream(behaviour: Behaviour) -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        incoming = await upstream.send(call())
        chunks = await read(incoming)
        assert said(chunks) == "word0 word1 word2"
        assert chunks[-1]["error"]["type"] == "upstream_error"
        assert incoming.error is not None
        assert not incoming.counted
        assert incoming.cost().completion_tokens >= 3

    relayed(work, behaviour)


def test_a_stream_may_end_without_done() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        incoming = await upstream.send(call())
        await read(incoming)
        assert incoming.error is None
        assert incoming.counted

    relayed(work, Behaviour(ends_without_done=True))


def test_who_stops_reading_may_go_on() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        incoming, chunks = await upstream.send(call()), []
        while not incoming.ended:
            try:
                chunks.append(await asyncio.wait_for(anext(incoming), 0.02))
            except TimeoutError:
                continue
            except StopAsyncIteration:
                break
        assert said([orjson.loads(chunk) for chunk in chunks]) == "word0 word1 word2 word3 word4"
        assert incoming.cost().completion_tokens == 5

    relayed(work, Behaviour(each_seconds=0.05))


def test_what_was_served_is_asked_for() -> None:
    async def run() -> None:
        async with MockUpstream.of(Behaviour(drop_after=2)) as mock:
            upstream = OpenAIUpstream("main", settings(mock, usage_url=mock.usage_url))
            await read(await upstream.send(call()))
            assert await upstream.served("request-1") == Cost(1, 3, 2, dollars=23e-6)
            assert await upstream.served("another") == Cost()
            await upstream.close()

    asyncio.run(run())


PRICES = {"prompt": 1, "completion": 10}


def of_payload(
    work: Callable[[Incoming], None], payload: Any, *, stream: bool = False, prices: Any = PRICES
) -> None:
    """What `work` makes of an endpoint that sends just this: a completion, or a stream's bytes."""

    async def answer(request: web.Request) -> web.Response:
        if stream:
            return web.Response(body=payload, content_type="text/event-stream")
        return web.json_response(payload)

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        given = {"base_url": url, "model": "big", "prices": prices}
        upstream = OpenAIUpstream("main", OpenAIUpstream.Settings.model_validate(given), KEY)
        try:
            incoming = await upstream.send(call(stream))
            if stream:
                await read(incoming)
            work(incoming)
        finally:
            await upstream.close()
            await runner.cleanup()

    asyncio.run(run())


def test_tokens_of_reasoning_that_only_the_total_has_are_paid() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 500}

    def look(incoming: Incoming) -> None:
        assert incoming.counted
        assert incoming.cost().completion_tokens == 490

    of_payload(look, {"choices": [{"message": {"content": "a"}}], "usage": usage})
    served = served_cost({"usage": usage}, Prices(1.0, 1.0, 10.0))
    assert served is not None
    assert served.completion_tokens == 490


def test_what_nobody_counted_is_reckoned_from_all_that_came() -> None:
    """Two choices: 40 letters, and a tool's name of 4 with arguments of 36: 80 bytes."""
    tool = {"type": "function", "function": {"name": "find", "arguments": "b" * 36}}
    choices = [{"message": {"content": "a" * 40}}, {"message": {"tool_calls": [tool]}}]

    def look(incoming: Incoming) -> None:
        assert not incoming.counted
        assert incoming.cost().completion_tokens == 20
        whole = orjson.dumps(call(False).body)
        assert incoming.cost().prompt_tokens == -(-len(whole) // 4)

    of_payload(look, {"choices": choices})


def test_what_the_endpoints_cache_took_is_paid_at_its_own_price() -> None:
    """A million tokens and more: 200,000 new ones, 300,000 found, 500,000 put there."""
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}
    details = {"cached_tokens": 300_000, "cache_write_tokens": 500_000}
    usage = usage | {"prompt_tokens_details": details}
    prices = Prices(1.0, 0.1, 10.0, 1.25)
    served = served_cost(usage, prices)
    assert served is not None
    assert served.dollars == pytest.approx(0.2 + 0.03 + 0.625)

    def look(incoming: Incoming) -> None:
        assert incoming.cost().dollars == pytest.approx(0.2 + 0.03 + 0.625)

    choices = [{"message": {"content": ""}}]
    given = {"prompt": 1, "cached_prompt": 0.1, "completion": 10, "cache_write": 1.25}
    of_payload(look, {"choices": choices, "usage": usage}, prices=given)


def test_an_endpoint_that_counts_nothing_is_not_free() -> None:
    """Nought tokens are no count: 40 letters are ten tokens."""
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

    def look(incoming: Incoming) -> None:
        assert not incoming.counted
        assert incoming.cost().completion_tokens == 10
        assert incoming.cost().prompt_tokens > 0

    of_payload(look, {"choices": [{"message": {"content": "a" * 40}}], "usage": usage})


def test_a_call_that_may_have_begun_is_not_made_twice() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        with pytest.raises(UpstreamError, match="it closed the connection"):
            await upstream.send(call())
        assert len(mock.bodies) == 1

    relayed(work, Behaviour(drop_after=0))


def test_kept_connections_that_the_other_side_gave_up_are_no_failure() -> None:
    choice = {"message": {"content": "a"}, "finish_reason": "stop"}
    whole = orjson.dumps({"choices": [choice]})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    came: list[int] = []  # over each connection
    three_came = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(came)
        came.append(0)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(asked.partition(b"content-length:")[2].split()[0]))
                came[number] += 1
                if came[number] == 2:
                    break
                if len(came) == 3:
                    three_came.set()
                await three_came.wait()
                writer.write(head % len(whole) + whole)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        given = {"base_url": url, "model": "big", "prices": PRICES}
        upstream = OpenAIUpstream("main", OpenAIUpstream.Settings.model_validate(given))
        for incoming in await asyncio.gather(*(upstream.send(call(False)) for _ in range(3))):
            await incoming.close()
        incoming = await upstream.send(call(False))
        assert incoming.raw == whole
        await incoming.close()
        await upstream.close()
        server.close()
        assert came == [2, 2, 2, 1]

    asyncio.run(run())


def test_a_key_in_the_error_of_an_answer_is_not_repeated() -> None:
    with pytest.raises(UpstreamError, match=r"an answer without choices$"):
        of_payload(lambda _: None, {"error": {"message": f"wrong {KEY}", "code": KEY}})

    def look(incoming: Incoming) -> None:
        assert incoming.error == "an error came in the stream (content_filter)"

    error = orjson.dumps({"error": {"message": f"wrong {KEY}", "code": "content_filter"}})
    said = orjson.dumps({"choices": [{"delta": {"content": "a"}}]})
    of_payload(look, b"data: " + said + b"\n\ndata: " + error + b"\n\n", stream=True)


def test_an_event_without_end_is_cut() -> None:
    said = b"data: " + orjson.dumps({"choices": [{"delta": {"content": "a"}}]}) + b"\n\n"

    def look(incoming: Incoming) -> None:
        assert incoming.error is not None
        assert "an event is longer than" in incoming.error

    of_payload(look, said + b"data: " + b"x" * (LONGEST_EVENT + 1), stream=True)


def test_a_stream_that_passes_its_bound_is_cut() -> None:
    async def work(upstream: OpenAIUpstream, mock: MockUpstream) -> None:
        body = {"messages": MESSAGES, "stream": True}
        incoming = await upstream.send(Call(body, "request-1", tokens=10))
        chunks = await read(incoming)
        assert "past the 10 tokens" in chunks[-1]["error"]["message"]
        assert len(chunks) < 120

    relayed(work, Behaviour(words=1000))


def test_a_redirect_does_not_get_the_key() -> None:
    async def run() -> None:
        seen: list[str] = []

        async def moved(request: web.Request) -> web.Response:
            raise web.HTTPFound("/elsewhere")

        async def elsewhere(request: web.Request) -> web.Response:
            seen.append(request.headers.get("authorization", ""))
            return web.json_response({"prompt_tokens": 0, "completion_tokens": 0})

        app = web.Application()
        app.router.add_get("/usage/{id}", moved)
        app.router.add_get("/elsewhere", elsewhere)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        given = {"base_url": f"{base}/v1", "usage_url": f"{base}/usage/{{request_id}}"}
        given |= {"model": "big", "prices": {"prompt": 1, "completion": 10}}
        upstream = OpenAIUpstream("main", OpenAIUpstream.Settings.model_validate(given), KEY)
        try:
            with pytest.raises(UpstreamError, match="HTTP 302"):
                await upstream.served("request-1")
        finally:
            await upstream.close()
            await runner.cleanup()
        assert not seen

    asyncio.run(run())
