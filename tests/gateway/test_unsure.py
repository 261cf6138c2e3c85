"""What is charged where a cloud, its books or a caller leave something open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.gateways import Built, ScriptedEngine, content, streamed
from tests.gateway.test_way import CALLER, EASY, HARD, PRICE, run
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.gateway import asking
from understudy.gateway.asking import Asked
from understudy.gateway.engine import EngineError, Job, Piece, Written
from understudy.gateway.requests import ChatRequest
from understudy.gateway.trace import Trace
from understudy.gateway.upstreams.calls import UpstreamError
from understudy.store.operations import Hold
from understudy.types import Cost


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_LOOK_AGAIN_SECONDS", (0.01, 0.0))


def books_are_empty(built: Built, cloud: MockUpstream) -> None:
    """Its usage address knows of no call."""
    (candidate,) = built.gateway.parts.asking.choice.candidates
    relay: Any = candidate.upstream._opened()  # type: ignore[attr-defined]
    relay.usage_url = f"{cloud.url}/nowhere/{{request_id}}"


def test_no_such_call_is_no_proof_that_nothing_was_served(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        books_are_empty(built, clouds[0])
        await built.ask(HARD, max_tokens=100)
        trace = await built.settled()
        assert trace.estimated
        assert trace.failed[0].cost.completion_tokens == 100
        assert built.dollars() == pytest.approx(trace.failed[0].cost.dollars)

    run(work, tmp_path, Behaviour(drop_after=0), tells_usage=True)


def test_an_answer_that_came_is_paid_whatever_the_books_say(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        books_are_empty(built, clouds[0])
        await built.ask(HARD)
        trace = await built.settled()
        assert trace.estimated
        assert built.dollars() > 0

    run(work, tmp_path, Behaviour(counts=False), tells_usage=True)


def test_a_refusal_of_which_the_books_know_nothing_is_free(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        await built.ask(HARD)
        assert not (await built.settled()).estimated
        assert built.dollars() == 0

    run(work, tmp_path, Behaviour(status=500), tells_usage=True)


def test_a_cloud_cannot_ask_to_rest_for_a_day(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        await built.ask(HARD)
        choice = built.gateway.parts.asking.choice
        assert 0 < choice.candidates[0].rests_until - choice.clock() <= 60

    run(work, tmp_path, Behaviour(status=429, retry_after=86_400))


class Breaking:
    """An answer that raises while it is read on."""

    ended, error, counted = False, None, True

    async def __anext__(self) -> bytes:
        raise UpstreamError("it broke", billed=None)

    async def close(self) -> None: ...

    def cost(self) -> Cost:
        return Cost(1, 4, 5, dollars=PRICE)


def test_an_answer_that_breaks_while_it_is_read_on_is_settled(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        hold = await built.ledger.reserve(("total",), Cost(1, dollars=1), Cost(1, dollars=1))
        assert isinstance(hold, Hold)
        parts = built.gateway.parts
        trace = Trace(ChatRequest({"messages": []}), CALLER)
        asked = Asked(parts.asking.choice.candidates[0], hold, Breaking(), 0.0)  # type: ignore[arg-type]
        await parts.asking.finish(asked, trace)
        assert built.dollars() == pytest.approx(PRICE)

    run(work, tmp_path, Behaviour())


class WritesNothing(ScriptedEngine):
    """The local model was to answer, once the cloud was asked; then nothing comes of it."""

    cloud: MockUpstream

    async def write(self, job: Job) -> AsyncIterator[Piece | Written]:
        while not self.cloud.bodies:
            await asyncio.sleep(0.005)
        yield Written("", "stop", 3, 0, 0, job.version, -1.0, 0.5, -0.25)


class SecondBreaks(WritesNothing):
    """Of two answers the first is whole, and the second breaks."""

    begun = 0

    async def write(self, job: Job) -> AsyncIterator[Piece | Written]:
        self.begun += 1
        second = self.begun == 2
        async for part in super().write(job):
            if second:
                raise EngineError("broken by the test")
            yield replace(part, text=EASY)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("engine", "more", "reason"),
    [
        (WritesNothing, {}, "the answer came out empty"),
        (SecondBreaks, {"n": 2}, "the local engine failed"),
    ],
)
def test_a_race_makes_one_call_though_the_local_answer_does_not_stand(
    tmp_path: Path, engine: type[WritesNothing], more: dict[str, int], reason: str, stream: bool
) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        writes.cloud = clouds[0]
        if stream and more:
            return  # such a stream has begun before its second answer breaks
        body = {**more, "stream": stream}
        outcome = await built.ask(EASY, replace(CALLER, deadline_ms=30_000), **body)
        assert outcome.decision.answered_by == "cloud"
        assert reason in outcome.decision.why
        if stream:
            assert content(await streamed(outcome)).startswith("word0 word1")
        trace = await built.settled()
        assert len(clouds[0].bodies) == 1
        assert built.dollars() == pytest.approx(trace.cloud_cost.dollars)
        assert trace.failed == []

    writes = engine()
    run(work, tmp_path, Behaviour(first_seconds=0.1), engine=writes, race=True)


def test_a_race_that_failed_is_paid_before_the_request_is_told_of(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        costs: list[float] = []
        built.gateway.parts.on_done = lambda trace: costs.append(trace.cloud_cost.dollars)
        outcome = await built.ask(f"slow {EASY}", replace(CALLER, deadline_ms=30_000))
        assert outcome.decision.answered_by == "local"
        while not costs:
            await asyncio.sleep(0.005)
        assert costs[0] > 0
        assert costs[0] == pytest.approx(built.dollars())

    how = Behaviour(drop_after=0, first_seconds=0.5)
    run(work, tmp_path, how, engine=ScriptedEngine(0.1), race=True, tells_usage=True)
