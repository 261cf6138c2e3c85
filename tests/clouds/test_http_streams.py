"""Streamed answers: pieces that end anywhere, what servers leave out, and streams that break."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from itertools import pairwise

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.clouds.endpoint_server import (
    USAGE,
    Call,
    Script,
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
from tests.clouds.http_client import KEY, PRICES, QUESTION, ask, ask_one, cloud_of
from understudy.clouds.completions import Answer, StreamedAnswer
from understudy.clouds.http import HttpCloud
from understudy.clouds.pieces import Pieces
from understudy.types import Options, Reply, Request

SPOKEN = b": OPENROUTER PROCESSING\n\nevent: message\r\n" + streamed(["fo", "ur – 四"], USAGE)


def streaming(*pieces: bytes, whole: bool = True) -> Script:
    async def script(call: Call) -> web.StreamResponse:
        return await send_stream(call, list(pieces), whole)

    return script


def test_a_streamed_answer_is_counted_as_a_whole_one() -> None:
    with serving(streaming(streamed(["fo", "ur"], USAGE))) as server:
        cloud = cloud_of(server, stream=True)
        reply = ask_one(cloud)
    (call,) = server.calls
    assert call.body["stream"] is True
    assert call.body["stream_options"] == {"include_usage": True}
    assert (reply.text, reply.error) == ("four", None)
    assert (reply.prompt_tokens, reply.completion_tokens) == (100, 20)
    assert reply.dollars == pytest.approx(PRICES.dollars(100, 60, 20))
    assert cloud.estimated == 0


@given(st.lists(st.integers(0, len(SPOKEN)), max_size=12), st.booleans())
def test_where_pieces_end_makes_no_difference(cuts: list[int], carriage: bool) -> None:
    spoken = SPOKEN.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") if carriage else SPOKEN
    stream, ends = StreamedAnswer(), [0, *sorted(cuts), len(spoken)]
    for start, end in pairwise(ends):
        stream.feed(spoken[start:end])
    assert stream.done
    assert stream.answer() == Answer(
        "four – 四", None, 100, 60, 20, characters=len("four – 四"), served=True
    )


def test_reasoning_comes_before_the_answer_and_is_no_part_of_it() -> None:
    thought = [chunk(delta={"reasoning_content": "2 and 2 "}), chunk(delta={"reasoning": "is 4"})]
    body = events(*thought, chunk("4"), chunk(finish_reason="stop"), "[DONE]")
    with serving(streaming(body)) as server:
        cloud = cloud_of(server, stream=True)
        reply = ask_one(cloud)
    assert reply.text == "4"
    assert reply.completion_tokens == 4  # 13 characters, the reasoning's too: it is paid for
    assert cloud.estimated == 1


def test_a_stream_needs_no_mark_of_its_end_once_the_model_stopped() -> None:
    with serving(streaming(events(chunk("four"), chunk(finish_reason="stop")))) as server:
        assert ask_one(cloud_of(server, stream=True)).text == "four"


def test_a_stream_torn_after_the_model_stopped_is_whole() -> None:
    body = events(chunk("four"), chunk(finish_reason="stop"))
    with serving(streaming(body, whole=False)) as server:
        assert ask_one(cloud_of(server, stream=True)).text == "four"


def test_a_stream_torn_in_an_event_after_the_model_stopped_is_whole() -> None:
    body = events(chunk("four"), chunk(finish_reason="stop")) + b'data: {"choices": [], "usa'
    with serving(streaming(body)) as server:
        assert ask_one(cloud_of(server, stream=True)).text == "four"


@pytest.mark.parametrize("whole", [True, False])
def test_half_a_stream_is_a_failed_call_that_costs_what_came_and_is_not_made_again(
    whole: bool,
) -> None:
    async def script(call: Call) -> web.StreamResponse:
        body = events(chunk("the answer "), chunk("is fo"))
        return await send_stream(call, [body], whole, pause=2.0)  # it has come before the reset

    with serving(script) as server:
        cloud = cloud_of(server, stream=True)
        reply = ask_one(cloud)
    assert (reply.text, reply.error, len(server.calls)) == (None, "broken stream", 1)
    assert (reply.prompt_tokens, reply.completion_tokens) == (8, 4)  # 30 and 16 characters
    assert reply.dollars == pytest.approx(PRICES.dollars(8, 0, 4))
    assert cloud.estimated == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "malformed reply: no choices"),
        (b"data: [DONE]\n\n", "malformed reply: no choices"),
        (events(chunk("fo"), "{oh", "[DONE]"), "malformed reply: an event is not JSON"),
        (events(chunk("fo"), {"error": {"message": "overloaded"}}), "overloaded"),
        (events(chunk("fo"), chunk(finish_reason="length"), "[DONE]"), "truncated"),
        (events(chunk(finish_reason="stop"), "[DONE]"), "empty answer"),
        (events(chunk(delta={"refusal": "No."}), "[DONE]"), "refusal"),
        (events(chunk(delta={"tool_calls": [{}]}), "[DONE]"), "tool calls"),
        (events(*[chunk("x" * 1000)] * 100, "[DONE]"), "reply over 50000 bytes"),
    ],
)
def test_a_stream_that_is_no_answer_is_a_failed_call(body: bytes, error: str) -> None:
    with serving(streaming(body)) as server:
        reply = ask_one(cloud_of(server, stream=True, largest_reply=50_000))
    assert error in (reply.error or "")
    assert reply.text == ("fo" if error == "truncated" else None)
    assert len(server.calls) == 1


def test_nothing_after_the_end_is_waited_for() -> None:
    async def script(call: Call) -> web.StreamResponse:
        late = [streamed(["four"], USAGE)] + [b": still here\n\n"] * 10_000
        return await send_stream(call, late, pause=0.05)

    with serving(script) as server:
        assert ask_one(cloud_of(server, stream=True, timeout_seconds=30)).text == "four"


def test_a_server_that_does_not_stream_is_read_as_it_is() -> None:
    with serving(answering(ok())) as server:
        assert ask_one(cloud_of(server, stream=True)).text == "four"


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_to_count_is_asked_without(status: int) -> None:
    async def script(call: Call) -> web.StreamResponse:
        if "stream_options" in call.body:
            return refused(status)()
        return await send_stream(call, [streamed(["four"])])

    with serving(script) as server:
        cloud = cloud_of(server, stream=True, max_retries=0)
        replies = [ask_one(cloud) for _ in range(3)]
    assert [reply.text for reply in replies] == ["four"] * 3
    asked = ["stream_options" in call.body for call in server.calls]
    assert asked == [True, False, False, False]  # learned once
    assert (replies[0].prompt_tokens, replies[0].completion_tokens) == (8, 1)
    assert cloud.estimated == 3


def test_a_refusal_for_another_reason_is_not_mended_by_not_counting() -> None:
    async def script(call: Call) -> web.StreamResponse:
        if call.number == 1 or len(call.prompt) > 100:
            return refused(400)()
        return web.json_response(completion())

    with serving(script) as server:
        cloud = cloud_of(server, stream=True)
        assert ask_one(cloud).text == "four"
        assert ask_one(cloud).error == "HTTP 400: status 400"
    assert len(server.calls) == 2  # it is known to count: asked once


def read(cloud: HttpCloud) -> tuple[list[str], Reply]:
    """The pieces of an answer, and the reply at its end."""

    async def parts() -> list[str | Reply]:
        return [part async for part in cloud.stream(Request(QUESTION))]

    *pieces, last = asyncio.run(parts())
    assert isinstance(last, Reply)
    return [piece for piece in pieces if isinstance(piece, str)], last


def test_pieces_come_as_they_are_sent_and_the_reply_is_that_of_a_whole_answer() -> None:
    sent_by = [chunk("", delta={"role": "assistant"}), chunk("fo"), chunk("ur")]
    first, last = events(*sent_by), events(chunk(finish_reason="stop"), "[DONE]")
    usage = events(chunk(choices=[], usage=USAGE))
    with serving(streaming(first, last[:20], last[20:], usage)) as server:
        cloud = cloud_of(server)
        pieces, reply = read(cloud)
        whole = ask_one(cloud_of(server, stream=True))
    assert pieces == ["fo", "ur"] or pieces == ["four"]
    assert replace(reply, seconds=0.0) == replace(whole, seconds=0.0)
    assert server.calls[0].body["stream"] is True
    assert server.calls[0].headers["accept"] == "text/event-stream"


def test_a_piece_is_there_before_the_next_is_sent() -> None:
    reached = threading.Event()

    async def script(call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(call.request)
        await response.write(events(chunk("one ")))
        while not reached.is_set():  # until its reader has the first piece
            await asyncio.sleep(0.01)
        await response.write(events(chunk("two"), chunk(finish_reason="stop"), "[DONE]"))
        await response.write_eof()
        return response

    async def parts(cloud: HttpCloud) -> list[str | Reply]:
        found: list[str | Reply] = []
        async for part in cloud.stream(Request(QUESTION)):
            found.append(part)
            reached.set()
        return found

    with serving(script) as server:
        *pieces, last = asyncio.run(parts(cloud_of(server)))
    assert pieces == ["one ", "two"]
    assert isinstance(last, Reply)
    assert last.text == "one two"


def test_an_endpoint_that_does_not_stream_gives_one_piece() -> None:
    with serving(answering(ok(), refused(401))) as server:
        cloud = cloud_of(server)
        pieces, reply = read(cloud)
        assert (pieces, reply.text) == (["four"], "four")
        pieces, reply = read(cloud)
        assert (pieces, reply.text, reply.error) == ([], None, "HTTP 401: status 401")


@given(st.text(alphabet="ab", max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_no_piece_holds_the_key_and_together_they_are_the_text_without_it(
    text: str, cuts: list[int]
) -> None:
    key, found = "abba", []
    pieces = Pieces(found.append, key)
    ends = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in pairwise(ends):
        pieces.add(text[start:end])
    pieces.close()
    assert "".join(found) == text.replace(key, "[key]")
    assert all(key not in piece for piece in found)


def test_a_key_that_an_endpoint_echoes_is_in_no_piece() -> None:
    halves = [f"your key is {KEY[:9]}", f"{KEY[9:]}, is it not?"]
    with serving(streaming(streamed(halves, USAGE))) as server:
        pieces, reply = read(cloud_of(server))
    assert "".join(pieces) == reply.text == "your key is [key], is it not?"


def test_a_question_s_options_go_before_the_endpoint_s_settings() -> None:
    options = Options(max_tokens=7, temperature=0.5, seed=3, stop=("#", "!"))
    with serving(answering(ok())) as server:
        ask(cloud_of(server, max_tokens=100, temperature=1.0), replace(QUESTION, options=options))
        ask(cloud_of(server, max_tokens=100, temperature=1.0), QUESTION)
    asked, plain = (call.body for call in server.calls)
    assert (asked["max_tokens"], asked["temperature"], asked["seed"]) == (7, 0.5, 3)
    assert asked["stop"] == ["#", "!"]
    assert (plain["max_tokens"], plain["temperature"]) == (100, 1.0)
    assert not {"seed", "stop"} & plain.keys()
