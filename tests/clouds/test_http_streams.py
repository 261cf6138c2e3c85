"""Streamed answers: pieces that end anywhere, what servers leave out, and streams that break."""

from __future__ import annotations

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
from tests.clouds.http_client import PRICES, ask_one, cloud_of
from understudy.clouds.completions import Answer, StreamedAnswer

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
