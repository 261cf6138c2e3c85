"""The simulated cloud, and one's own, as upstreams of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from understudy.clouds.settings import CloudSettings
from understudy.errors import ConfigError
from understudy.gateway.upstreams.calls import Call, UpstreamError
from understudy.gateway.upstreams.in_process import InProcessUpstream, Told
from understudy.gateway.writing import Writing
from understudy.types import Cost, Question, Reply, Request

STORY = "Tom has 12 pens, buys 5. how many?"


def upstream(**settings: Any) -> InProcessUpstream:
    return InProcessUpstream("sim", InProcessUpstream.Settings.model_validate(settings))


def body(text: str = STORY, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def test_it_answers_whole_and_as_a_stream_and_costs_the_same() -> None:
    async def go() -> None:
        cloud = upstream()
        whole = await cloud.send(Call(body(), "r"))
        assert whole.completion is not None
        assert whole.completion["choices"][0]["message"]["content"] == "#17"
        stream = await cloud.send(Call(body(stream=True), "r", include_usage=True))
        chunks = [orjson.loads(each) async for each in stream]
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "#17"}
        assert chunks[-1]["usage"]["total_tokens"] > 0
        assert stream.cost() == whole.cost()
        assert stream.cost().dollars > 0
        assert stream.ended
        bound = cloud.bound(body(), 100, 16)
        assert stream.cost().dollars <= bound.most.dollars

    asyncio.run(go())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (body(n=2), "does not serve n"),
        (body(tools=[{"type": "function", "function": {"name": "f"}}]), "does not serve tools"),
        (body(response_format={"type": "json_object"}), "does not serve response_format"),
        (body(logprobs=True), "does not serve logprobs"),
        (body(top_p=0.5), "does not serve top_p"),
        (body(logit_bias={"1": 5}), "does not serve logit_bias"),
        (body(min_p=0.1), "does not serve min_p"),
        (body() | {"messages": [{"role": "tool", "content": "x"}]}, "reads text only"),
        (
            body() | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "text only",
        ),
    ],
)
def test_what_it_cannot_do_is_a_fault_of_the_question(asked: dict[str, Any], said: str) -> None:
    for work in (
        lambda: asyncio.run(upstream().send(Call(asked, "r"))),
        lambda: upstream().bound(asked, 100, 16),
    ):
        with pytest.raises(UpstreamError, match=said) as caught:
            work()
        assert (caught.value.status, caught.value.at_fault) == (400, False)


@pytest.mark.parametrize("stream", [False, True])
def test_what_it_does_not_know_is_no_answer_and_no_outage(stream: bool) -> None:
    asked = body("what is the meaning of life", stream=stream)
    with pytest.raises(UpstreamError, match=r"Tom has 12 pens.*--local or --cloud") as caught:
        asyncio.run(upstream().send(Call(asked, "r")))
    error = caught.value
    assert (error.status, error.at_fault, error.billed) == (400, False, False)


@pytest.mark.parametrize(
    "idle", [{"n": 1, "top_p": 1.0, "logprobs": False, "response_format": {"type": "text"}}]
)
def test_fields_that_ask_for_nothing_are_no_matter(idle: dict[str, Any]) -> None:
    assert asyncio.run(upstream().send(Call(body(**idle), "r"))).text == "#17"


LONG = "max has 41 cards, sells 13, finds 46, eats 4. how many?"


def test_an_answer_ends_where_it_is_told_to_and_costs_less() -> None:
    async def go() -> None:
        whole = await upstream().send(Call(body(LONG), "r"))
        assert "#70" in whole.text
        stopped = await upstream().send(Call(body(LONG, stop=["#"]), "r"))
        assert stopped.text == whole.text.partition("#")[0]
        assert stopped.finish_reason == "stop"
        cut = await upstream().send(Call(body(LONG, max_tokens=1), "r"))
        assert (cut.text, cut.finish_reason) == (whole.text[:4], "length")
        assert cut.completion is not None
        assert cut.completion["choices"][0]["finish_reason"] == "length"
        assert cut.cost().completion_tokens == 1
        assert cut.cost().dollars < whole.cost().dollars
        stream = await upstream().send(Call(body(LONG, max_tokens=1, stream=True), "r"))
        chunks = [orjson.loads(each) async for each in stream]
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"

    asyncio.run(go())


class Slow:
    """A cloud of one's own, which streams and then may fail."""

    def __init__(self, error: str | None = None) -> None:
        self.error, self.finished = error, False

    async def answer(self, request: Request) -> Reply:
        raise NotImplementedError

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        for word in ("a", " b", " c"):
            await asyncio.sleep(0.02)
            yield word
        self.finished = True
        yield Reply("a b c", 4, 3, dollars=0.25, error=self.error)


def told(cloud: Slow) -> Told:
    return Told(cloud, Request(Question.of("q")), Writing("slow"))


def test_who_stops_reading_may_read_on() -> None:
    async def go() -> None:
        cloud = Slow()
        answer = told(cloud)
        await answer.begin(streams=True)
        await anext(answer)
        assert not answer.ended
        reading = asyncio.create_task(answer.__anext__())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        rest = [orjson.loads(each) async for each in answer]
        assert rest[-1]["choices"][0]["finish_reason"] == "stop"
        assert (answer.text, answer.cost()) == ("a b c", Cost(1, 4, 3, dollars=0.25))
        assert cloud.finished

    asyncio.run(go())


def test_a_stream_that_fails_says_so_and_costs_what_it_says() -> None:
    async def go() -> None:
        answer = told(Slow("broken"))
        await answer.begin(streams=True)
        chunks = [orjson.loads(each) async for each in answer]
        assert chunks[-1]["error"]["message"] == "the cloud failed: broken"
        assert answer.cost().dollars == 0.25

    asyncio.run(go())


def test_what_an_endpoint_says_of_a_failure_stays_here() -> None:
    async def go() -> None:
        with pytest.raises(UpstreamError) as caught:
            await told(Slow("HTTP 401: wrong key sk-live-12345678")).begin(streams=False)
        assert str(caught.value) == "HTTP 401"

    asyncio.run(go())


def test_a_whole_answer_that_fails_is_none() -> None:
    async def go() -> None:
        with pytest.raises(UpstreamError, match="broken") as caught:
            await told(Slow("broken")).begin(streams=False)
        assert caught.value.billed is None  # it says that it cost something

    asyncio.run(go())


def test_caps_of_a_run_are_not_the_gateways() -> None:
    with pytest.raises(ConfigError, match="max_dollars is of the run"):
        upstream(cloud={"kind": "simulated", "max_dollars": 1})
    assert CloudSettings.model_fields["max_dollars"].default is None
