"""The HTTP cloud against a real server: what is sent, what is counted, and what may go wrong."""

from __future__ import annotations

import asyncio
import gc
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp import web
from openai.types.chat import ChatCompletion

from tests.clouds.endpoint_server import (
    USAGE,
    Call,
    EndpointServer,
    answering,
    completion,
    ok,
    refused,
    sent,
    serving,
)
from tests.clouds.http_client import KEY, QUESTION, ask, ask_one, cloud_of
from understudy.types import Question, Request


def json_of(content: Any) -> bytes:
    return json.dumps(content).encode()


def test_a_question_is_sent_as_a_chat_and_its_answer_counted_and_priced() -> None:
    with serving(answering(ok())) as server:
        cloud = cloud_of(
            server, max_tokens=64, temperature=0.5, extra_body={"reasoning_effort": "low"}
        )
        reply = ask_one(cloud)
    (call,) = server.calls
    assert call.path == "/v1/chat/completions"
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.body == {
        "model": "big",
        "messages": [
            {"role": "system", "content": "Answer with a number."},
            {"role": "user", "content": "2 + 2 = ?"},
        ],
        "max_tokens": 64,
        "temperature": 0.5,
        "reasoning_effort": "low",
    }
    assert (reply.text, reply.error) == ("four", None)
    assert (reply.prompt_tokens, reply.completion_tokens) == (100, 20)
    # 40 prompt tokens at 2, 60 cached ones at 0.5, 20 of completion at 10, per million.
    assert reply.dollars == pytest.approx((80 + 30 + 200) / 1e6)
    assert reply.seconds > 0
    assert cloud.estimated == 0


def test_nothing_is_sent_that_was_not_set() -> None:
    with serving(answering(ok())) as server:
        ask(cloud_of(server, api_key=None), Question.of("hello"))
    (call,) = server.calls
    assert "authorization" not in call.headers
    assert call.body == {"model": "big", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'{"choices": [', "malformed reply: not JSON"),
        (b"[" * 100_000, "malformed reply: not JSON"),
        (b"[1, 2]", "malformed reply: no JSON object"),
        (json_of({"id": "x"}), "malformed reply: no choices"),
        (json_of({"choices": []}), "malformed reply: no choices"),
        (json_of({"choices": ["four"]}), "malformed reply: no choices"),
        (json_of({"error": {"message": "overloaded", "code": 502}}), "overloaded"),
        (json_of(completion("")), "empty answer"),
        (json_of(completion(" \n")), "empty answer"),
        (json_of(completion(None)), "empty answer"),
        (json_of(completion(7, choice={"message": None})), "empty answer"),
        (json_of(completion(None, message={"refusal": "I cannot."})), "refusal"),
        (json_of(completion(None, message={"tool_calls": [{"id": "1"}]})), "tool calls"),
        (json_of(completion("par", choice={"finish_reason": "content_filter"})), "filter"),
    ],
)
def test_a_reply_that_is_no_answer_is_a_failed_call(content: bytes, error: str) -> None:
    with serving(answering(sent(content))) as server:
        reply = ask_one(cloud_of(server))
    assert reply.text is None
    assert error in (reply.error or "")
    assert len(server.calls) == 1  # it was an answer, and is paid for: not asked again
    served = b"usage" in content
    assert (reply.prompt_tokens, reply.completion_tokens) == ((100, 20) if served else (0, 0))


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/octet-stream"])
def test_a_page_is_no_answer(kind: str) -> None:
    with serving(answering(sent(b"<html>Welcome to the proxy</html>", kind))) as server:
        reply = ask_one(cloud_of(server))
    assert (reply.text, reply.error) == (None, f"wrong content type: {kind}")


def test_an_answer_cut_short_is_a_failed_call_that_costs() -> None:
    cut = ok(text="the answer is", choice={"finish_reason": "length"})
    with serving(answering(cut)) as server:
        reply = ask_one(cloud_of(server))
    assert (reply.text, reply.error) == ("the answer is", "truncated")
    assert (reply.prompt_tokens, reply.completion_tokens) == (100, 20)
    assert reply.dollars == pytest.approx(310 / 1e6)


def test_a_model_that_spent_all_its_tokens_on_reasoning_is_cut_short_too() -> None:
    thought = {"reasoning_content": "hmm " * 10}
    cut = ok(text=None, message=thought, choice={"finish_reason": "length"})
    with serving(answering(cut)) as server:
        assert ask_one(cloud_of(server)).error == "truncated"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_no_part_of_the_answer(name: str) -> None:
    with serving(answering(ok(message={name: "two and two"}))) as server:
        assert ask_one(cloud_of(server)).text == "four"


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "fo"}, {"type": "image"}, {"type": "text", "text": "ur"}]
    with serving(answering(ok(message={"content": parts}))) as server:
        assert ask_one(cloud_of(server)).text == "four"


@pytest.mark.parametrize(
    ("usage", "tokens", "estimates"),
    [
        (None, (8, 3), 1),  # 21 + 9 characters sent, 12 received with the reasoning
        ({}, (8, 3), 1),
        ({"prompt_tokens": 50}, (50, 3), 1),
        ({"prompt_tokens": "50", "completion_tokens": -1}, (8, 3), 1),
        ({"prompt_tokens": 50, "completion_tokens": 5}, (50, 5), 0),
        # More cached than sent cannot be: nobody is paid for it.
        (
            {
                "prompt_tokens": 50,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 80},
            },
            (50, 5),
            0,
        ),
    ],
)
def test_tokens_that_nobody_counted_are_estimated_and_said_to_be(
    usage: Any, tokens: tuple[int, int], estimates: int
) -> None:
    with serving(answering(ok(usage=usage, message={"reasoning": "2 and 2?"}))) as server:
        cloud = cloud_of(server)
        reply = ask_one(cloud)
    assert reply.error is None
    assert (reply.prompt_tokens, reply.completion_tokens) == tokens
    assert cloud.estimated == estimates
    cheapest = tokens[0] * 0.5 + tokens[1] * 10
    assert cheapest / 1e6 <= reply.dollars * (1 + 1e-9)


def test_a_reply_beyond_all_bounds_is_not_read() -> None:
    with serving(answering(ok(text="x" * 100_000))) as server:
        cloud = cloud_of(server, largest_reply=50_000)
        assert ask_one(cloud).error == "reply over 50000 bytes"


def test_half_characters_do_not_get_in() -> None:
    content = json_of(completion("a")).replace(b'"a"', b'"a\\ud800b"')
    with serving(answering(sent(content))) as server:
        assert ask_one(cloud_of(server)).text == "a?b"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_final_and_says_why(status: int) -> None:
    with serving(answering(refused(status, {"error": {"message": "no\nsuch model"}}))) as server:
        reply = ask_one(cloud_of(server))
    assert reply.error == f"HTTP {status}: no such model"
    assert (reply.text, reply.dollars, len(server.calls)) == (None, 0.0, 1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "model not loaded"}, ": model not loaded"),  # Ollama
        ({"detail": "Not Found"}, ": Not Found"),  # FastAPI
        ({"message": "bad", "object": "error"}, ": bad"),  # vLLM
        ({"error": {"message": "x" * 900}}, ": " + "x" * 227 + "..."),
        (["what"], ""),
        ({"error": {"message": {"deep": 1}}}, ""),
    ],
)
def test_errors_of_other_shapes_are_read_too(body: Any, message: str) -> None:
    with serving(answering(refused(400, body))) as server:
        assert ask_one(cloud_of(server)).error == f"HTTP 400{message}"


def test_an_error_page_is_not_repeated() -> None:
    def page() -> web.Response:
        return web.Response(status=500, text="<html>Traceback ...</html>", content_type="text/html")

    with serving(answering(page)) as server:
        assert ask_one(cloud_of(server, max_retries=0)).error == "HTTP 500"


def test_a_key_does_not_follow_a_redirect() -> None:
    with serving(answering(ok())) as other:

        def moved() -> web.Response:
            return web.Response(status=307, headers={"Location": f"{other.url}/chat/completions"})

        with serving(answering(moved)) as server:
            assert ask_one(cloud_of(server)).error == "HTTP 307"
    assert other.calls == []


@pytest.mark.parametrize("padding", [0, 210, 225])  # where the message is cut, too
def test_a_key_that_is_echoed_is_not_passed_on(padding: int) -> None:
    async def script(call: Call) -> web.StreamResponse:
        echo = "." * padding + call.headers["authorization"]
        if call.number == 0:
            return web.json_response({"error": {"message": echo}}, status=401)
        return web.json_response(completion(echo))

    with serving(script) as server:
        cloud = cloud_of(server)
        error, text = ask_one(cloud).error or "", ask_one(cloud).text or ""
    assert error.startswith("HTTP 401: ")
    assert text == "." * padding + "Bearer [key]"
    assert "sk-test" not in error + text
    assert "sk-test" not in repr(cloud) + repr(cloud.endpoint)


def test_no_more_calls_are_in_flight_than_allowed() -> None:
    async def script(call: Call) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return web.json_response(completion())

    questions = [Question.of(f"question {i}") for i in range(30)]
    with serving(script) as server:
        replies = ask(cloud_of(server, max_concurrency=3), *questions)
    assert [reply.error for reply in replies] == [None] * 30
    assert server.most_in_flight == 3


def test_every_event_loop_has_connections_of_its_own_and_closes_them(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    def ask_from_several_loops(server: EndpointServer) -> None:
        cloud = cloud_of(server)

        async def twice() -> list[str | None]:
            return [(await cloud.answer(Request(QUESTION))).text for _ in range(2)]

        assert [ask_one(cloud).text for _ in range(3)] == ["four"] * 3
        with asyncio.Runner() as runner, ThreadPoolExecutor(1) as another:
            assert runner.run(twice()) == ["four"] * 2
            assert another.submit(ask_one, cloud).result().text == "four"
            assert runner.run(twice()) == ["four"] * 2

    gc.collect()
    recwarn.clear()  # what tests before this one have left
    with serving(answering(ok())) as server:
        ask_from_several_loops(server)
        gc.collect()
    assert len(server.calls) == 8
    assert caplog.records == []  # aiohttp and asyncio complain there about what was left open
    assert [each for each in recwarn if each.category is ResourceWarning] == []


def test_usage_is_the_one_of_the_documentation() -> None:
    """The fixture of these tests is what OpenAI's own types accept."""
    read = ChatCompletion.model_validate(completion())
    assert read.usage is not None
    assert read.usage.prompt_tokens == USAGE["prompt_tokens"]
