"""A bad line: what is tried again, what is not, and when calls stop for a while."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Callable
from email.utils import formatdate

import pytest
from aiohttp import web

from tests.clouds.endpoint_server import (
    Call,
    answering,
    chunk,
    completion,
    events,
    ok,
    refused,
    send_stream,
    serving,
    streamed,
)
from tests.clouds.http_client import QUESTION, ask_one, cloud_of
from understudy.clouds import MeteredCloud, http
from understudy.clouds.retries import Circuit, retry_after, wait_before
from understudy.types import Question

Response = Callable[[], web.Response]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_what_passes_is_tried_again(status: int) -> None:
    with serving(answering(refused(status), ok())) as server:
        reply = ask_one(cloud_of(server))
    assert (reply.text, len(server.calls)) == ("four", 2)
    assert server.calls[0].body == server.calls[1].body


@pytest.mark.parametrize("status", [504, 524])
def test_where_an_answer_may_be_on_its_way_none_is_asked_for_again(status: int) -> None:
    with serving(answering(refused(status), ok())) as server:
        reply = ask_one(cloud_of(server))
        most = cloud_of(server).estimate(QUESTION).dollars
    assert (reply.error, len(server.calls)) == (f"HTTP {status}: status {status}", 1)
    assert (reply.dollars, reply.may_cost) == (0.0, most)
    assert most > 0


@pytest.mark.parametrize(("patience", "calls"), [(60.0, 2), (0.0, 1)])
def test_a_connection_torn_long_after_the_question_is_not_tried_again(
    patience: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.clouds.http._STALE_SECONDS", patience)

    async def script(call: Call) -> web.StreamResponse:
        return call.reset() if call.number == 0 else web.json_response(completion())

    with serving(script) as server:
        reply = ask_one(cloud_of(server))
    assert len(server.calls) == calls
    assert (reply.text is None) == (calls == 1)


def test_retries_end() -> None:
    with serving(answering(refused(503))) as server:
        reply = ask_one(cloud_of(server, max_retries=2))
    assert (reply.text, reply.error) == (None, "HTTP 503: status 503")
    assert (len(server.calls), reply.retries, reply.may_cost) == (3, 2, None)


def test_a_connection_torn_before_any_answer_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "_STALE_SECONDS", 60.0)  # "at once" on a slow machine

    async def script(call: Call) -> web.StreamResponse:
        return call.reset() if call.number == 0 else web.json_response(completion())

    with serving(script) as server:
        assert ask_one(cloud_of(server)).text == "four"
    assert len(server.calls) == 2


def test_nobody_there_is_a_failed_call() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    reply = ask_one(cloud_of(f"http://127.0.0.1:{port}/v1", max_retries=1))
    assert reply.text is None
    assert (reply.error or "").startswith("no connection")


def test_an_answer_torn_in_its_middle_is_not_paid_for_twice() -> None:
    async def script(call: Call) -> web.StreamResponse:
        headers = {"Content-Type": "application/json", "Content-Length": "1000"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(call.request)
        await response.write(json.dumps(completion()).encode()[:50])
        return call.reset()

    with serving(script) as server:
        assert ask_one(cloud_of(server)).error == "broken reply"
    assert len(server.calls) == 1


def test_what_is_no_http_is_a_failed_call() -> None:
    async def script(call: Call) -> web.StreamResponse:
        assert call.request.transport is not None
        call.request.transport.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        return call.reset()

    with serving(script) as server:
        reply = ask_one(cloud_of(server, max_retries=0))
    assert reply.text is None
    assert (reply.error or "").startswith(("no HTTP", "no connection"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_ends_at_its_deadline(stream: bool) -> None:
    async def drip(call: Call) -> web.StreamResponse:
        if stream:
            return await send_stream(call, [events(chunk("."))] * 2000, pause=0.02)
        await asyncio.sleep(600)
        raise AssertionError

    with serving(drip) as server:
        reply = ask_one(cloud_of(server, stream=stream, timeout_seconds=5.0))
    assert (reply.text, reply.error, reply.dollars) == (None, "timeout", 0.0)
    assert (reply.may_cost or 0.0) > 0
    assert 5.0 <= reply.seconds < 30
    assert len(server.calls) == 1


def test_the_deadline_includes_retries() -> None:
    with serving(answering(refused(500))) as server:
        reply = ask_one(cloud_of(server, timeout_seconds=8.0, max_retries=1000))
    assert (reply.error or "").startswith(("HTTP 500", "timeout"))
    assert reply.seconds < 60
    assert len(server.calls) >= 2


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "1"}, {"Retry-After-Ms": "400", "Retry-After": "600"}]
)
def test_the_endpoint_says_when_to_come_back(headers: dict[str, str]) -> None:
    with serving(answering(refused(429, headers=headers), ok())) as server:
        assert ask_one(cloud_of(server)).text == "four"
    first, second = (call.arrived for call in server.calls)
    assert second - first >= (1.0 if len(headers) == 1 else 0.4)


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    with serving(answering(refused(429, headers={"Retry-After": "3600"}))) as server:
        reply = ask_one(cloud_of(server, timeout_seconds=600.0))
    assert reply.error == "HTTP 429: status 429"
    assert reply.seconds < 60
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": formatdate(1_000_090, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
    ],
)
def test_the_wait_asked_for_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, now=1_000_000.0) == seconds


def test_waits_spread_over_a_range_that_doubles_up_to_a_limit() -> None:
    luck = random.Random(1)
    for retry, longest in [(0, 0.5), (1, 1.0), (3, 4.0), (4, 8.0), (2000, 8.0)]:
        waits = [wait_before(retry, None, luck) for _ in range(2000)]
        assert 0 <= min(waits) < 0.02 * longest
        assert 0.98 * longest < max(waits) <= longest
        assert min(wait_before(retry, 5.0, luck) for _ in range(100)) >= 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_circuit_opens_probes_and_closes() -> None:
    clock = Clock()
    circuit = Circuit(failures=3, pause_seconds=10.0, clock=clock)

    def call(works: bool) -> None:
        assert circuit.admits()
        circuit.note(works)

    for works in (False, False, True, False, False):  # a success in between starts over
        call(works)
    call(False)
    assert not circuit.admits()
    clock.now += 9.9
    assert not circuit.admits()
    clock.now += 0.2
    assert circuit.admits()  # the probe
    assert not circuit.admits()  # one at a time
    circuit.note(False)
    clock.now += 9.9
    assert not circuit.admits()  # a whole pause again
    clock.now += 0.2
    assert circuit.admits()
    circuit.note(None)  # it was abandoned, and says nothing: another may go
    assert circuit.admits()
    circuit.note(True)
    call(False)
    assert circuit.admits()


def test_an_endpoint_that_is_down_is_left_alone_for_a_while() -> None:
    down = True

    async def script(call: Call) -> web.StreamResponse:
        return refused(500)() if down else web.json_response(completion())

    with serving(script) as server:
        settings = {"max_retries": 0, "circuit_failures": 3, "circuit_pause_seconds": 1.5}
        now = 0.0
        cloud = MeteredCloud(cloud_of(server, lambda: now, **settings, max_concurrency=1))
        questions = [Question.of(f"question {i}") for i in range(5)]
        errors = [reply.error for reply in cloud.replies(questions)]
        assert errors == ["HTTP 500: status 500"] * 3 + ["circuit open"] * 2
        spend = cloud.spend
        assert (len(server.calls), spend.calls, spend.failed_calls, spend.refused_calls) == (
            3,
            3,
            3,
            2,
        )
        down = False
        now = 1.6
        assert [reply.error for reply in cloud.replies(questions)] == [None] * 5
        cloud.close()


def test_a_question_that_is_refused_does_not_open_the_circuit() -> None:
    with serving(answering(refused(400))) as server:
        cloud = cloud_of(server, circuit_failures=2)
        errors = [ask_one(cloud).error for _ in range(4)]
    assert errors == ["HTTP 400: status 400"] * 4


class Weather:
    """A server that fails in every way, by a fixed draw per call, and keeps its own books."""

    def __init__(self) -> None:
        self.luck = random.Random(5)
        self.served = self.prompt_tokens = self.completion_tokens = 0
        self.dollars = 0.0

    async def __call__(self, call: Call) -> web.StreamResponse:
        fate = self.luck.random()
        if fate < 0.1:
            return refused(429, headers={"Retry-After-Ms": "1"})()
        if fate < 0.2:
            return refused(500)()
        if fate < 0.25:
            return call.reset()
        if fate < 0.3:
            return refused(422)()
        usage = {
            "prompt_tokens": self.luck.randrange(50, 100),
            "completion_tokens": self.luck.randrange(100),
            "prompt_tokens_details": {"cached_tokens": self.luck.randrange(50)},
        }
        self.served += 1
        self.prompt_tokens += usage["prompt_tokens"]
        self.completion_tokens += usage["completion_tokens"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        self.dollars += 2.0 * (usage["prompt_tokens"] - cached) + 0.5 * cached
        self.dollars += 10.0 * usage["completion_tokens"]
        if fate < 0.4:
            cut = {"finish_reason": "length"}
            return web.json_response(completion(call.prompt, choice=cut, usage=usage))
        if fate < 0.7:
            return await send_stream(call, [streamed([call.prompt], usage)])
        return web.json_response(completion(call.prompt, usage=usage))


def test_a_thousand_calls_over_a_bad_line_cost_what_the_server_says_it_served() -> None:
    weather = Weather()
    questions = [Question.of(f"question {i}") for i in range(1000)]
    with serving(weather) as server:
        http = cloud_of(
            server, max_concurrency=50, max_retries=2, circuit_failures=10**6, stream=True
        )
        cloud = MeteredCloud(http)
        replies = cloud.replies(questions)
        cloud.close()
    spend = cloud.spend
    answered = [(q, r) for q, r in zip(questions, replies, strict=True) if r.error is None]
    cut = sum(reply.error == "truncated" for reply in replies)
    assert all(reply.text == problem.prompt for problem, reply in answered)
    assert len(answered) + cut == weather.served
    assert (spend.calls, spend.failed_calls) == (1000, 1000 - len(answered))
    assert 0 < cut < spend.failed_calls < 400
    assert spend.prompt_tokens == weather.prompt_tokens
    assert spend.completion_tokens == weather.completion_tokens
    assert spend.dollars == pytest.approx(weather.dollars / 1e6)
    assert server.most_in_flight <= 50
    assert http.estimated == 0
