"""Calls are reserved before and settled after, whatever callers and clouds do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tests.gateway.gateways import Built, ScriptedEngine, content, streamed
from tests.gateway.test_way import CALLER, EASY, HARD, PRICE, run, text
from tests.gateway.upstream import Behaviour, MockUpstream
from understudy.clouds.prices import Prices
from understudy.store.caps import Cap

SLOW = Behaviour(words=20, each_seconds=0.01)


def dollars(prompt: int, completion: int) -> float:
    return (prompt * 1.0 + completion * 10.0) / 1e6


@pytest.mark.parametrize("counts", [True, False])
def test_who_hangs_up_in_a_stream_pays_what_the_cloud_used(tmp_path: Path, counts: bool) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(HARD, stream=True)
        assert outcome.chunks is not None
        for _ in range(3):
            await anext(outcome.chunks)
        await outcome.chunks.aclose()  # type: ignore[attr-defined]
        trace = await built.settled()
        assert trace.hung_up
        used = clouds[0].total
        assert (used.prompt_tokens, used.completion_tokens) == (4, 20)
        if counts:
            assert built.dollars() == pytest.approx(dollars(4, 20))
        assert trace.estimated == (not counts)
        assert (await built.ledger.standing(("total",)))[0].held == 0

    cap = Cap.of("total", "dollars", 1, "day")
    run(work, tmp_path, replace(SLOW, counts=counts), caps=[cap])


def test_an_answer_is_read_on_for_a_while_only(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(HARD, stream=True)
        assert outcome.chunks is not None
        await anext(outcome.chunks)
        await outcome.chunks.aclose()  # type: ignore[attr-defined]
        await built.settled()
        used = clouds[0].total
        assert used.completion_tokens < 1000
        # The usage address has it to the token, though the last chunk never came.
        assert built.dollars() == pytest.approx(dollars(4, used.completion_tokens))

    endless = Behaviour(words=1000, each_seconds=0.02)
    spending = {"hang_up_seconds": 0.1}
    run(work, tmp_path, endless, spending=spending, tells_usage=True)


def test_who_hangs_up_before_an_answer_pays_it_too(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        asking = asyncio.create_task(built.ask(HARD))
        while not clouds[0].bodies:
            await asyncio.sleep(0.005)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        trace = await built.settled()
        assert trace.hung_up
        assert clouds[0].total.completion_tokens == 5
        assert built.dollars() == pytest.approx(PRICE)
        assert not trace.estimated
        assert built.engine.running == 0

    run(work, tmp_path, Behaviour(first_seconds=0.1))


def test_who_hangs_up_while_waiting_for_room_asks_nothing(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        first = await built.ask(HARD, stream=True)
        waiting = asyncio.create_task(built.ask(HARD))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await streamed(first)
        await built.settled()
        assert len(clouds[0].bodies) == 1
        (standing,) = await built.ledger.standing(("total",))
        assert (standing.spent, standing.held) == (1, 0)

    caps = [Cap.of("total", "calls", 1, "day")]
    run(work, tmp_path, SLOW, caps=caps, spending={"wait_seconds": 30})


def test_a_hang_up_of_a_local_stream_frees_its_place(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask("a slow slow slow", stream=True, model="local")
        assert outcome.chunks is not None
        await anext(outcome.chunks)
        assert built.engine.running == 1
        await outcome.chunks.aclose()  # type: ignore[attr-defined]
        trace = await built.settled()
        assert trace.hung_up
        assert (built.engine.running, built.engine.finished) == (0, 0)

    run(work, tmp_path, engine=ScriptedEngine(seconds=5))


def test_a_small_rest_of_the_budget_pays_a_short_answer(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask("margin=3", model="cloud")
        sent = clouds[0].bodies[0]
        assert outcome.completion is not None
        size = len(orjson.dumps({"model": "cloud", "messages": sent["messages"]}))
        # 1000 tokens of the prompt's price are left: its bytes and its template, then tenths.
        paid = (1000 - size - 64) // 10
        assert sent["max_tokens"] == paid
        assert clouds[0].total.completion_tokens == paid
        assert outcome.completion["choices"][0]["finish_reason"] == "length"
        assert built.dollars() <= 0.001
        await built.settled()
        outcome = await built.ask("margin=3")
        assert outcome.decision.answered_by == "local"
        assert "$0.001 at most per day" in outcome.decision.why
        assert outcome.decision.left["dollars/day"] == pytest.approx(0.001 - built.dollars())

    caps = [Cap.of("total", "dollars", 0.001, "day")]
    run(work, tmp_path, Behaviour(words=500), caps=caps)


def test_an_answer_without_a_bound_takes_no_more_than_the_default(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(HARD)
        assert clouds[0].bodies[0]["max_tokens"] == 1024
        assert outcome.decision.left["dollars/day"] == pytest.approx(1 - PRICE)
        await built.ask(HARD, max_tokens=7)
        assert clouds[0].bodies[1]["max_tokens"] == 7

    run(work, tmp_path, Behaviour(), caps=[Cap.of("total", "dollars", 1, "day")])


def test_nobody_is_refused_while_others_hold_what_they_will_give_back(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcomes = await asyncio.gather(*(built.ask(HARD) for _ in range(12)))
        assert [outcome.decision.answered_by for outcome in outcomes] == ["cloud"] * 12
        await built.settled()
        assert built.dollars() == pytest.approx(12 * PRICE)

    # Each holds a cent until it is known to have cost a two-hundredth of it.
    caps = [Cap.of("total", "dollars", 0.012, "day")]
    spending = {"wait_seconds": 30, "least_tokens": 1024}
    run(work, tmp_path, Behaviour(), caps=caps, spending=spending)


def test_keys_and_teams_have_caps_of_their_own(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        def who(key: str) -> object:
            return replace(CALLER, key=key, team="a")

        async def asked(key: str) -> str:
            outcome = await built.ask(HARD, who(key))  # type: ignore[arg-type]
            await built.settled()
            return outcome.decision.answered_by

        assert [await asked(key) for key in ("k1", "k1", "k2", "k3")] == [
            *("cloud", "local"),  # one call of each key
            *("cloud", "local"),  # two of the team
        ]

    caps = [Cap.of("key:*", "calls", 1, "day"), Cap.of("team:a", "calls", 2, "day")]
    run(work, tmp_path, Behaviour(), caps=caps)


def test_a_share_of_all_questions(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        who = []
        for question in (EASY, HARD, HARD, EASY, EASY, HARD):
            who.append((await built.ask(question)).decision.answered_by)
            await built.settled()
        # asked(n) <= ceil(0.25 n): one of the first four, a second from the fifth on.
        assert who == ["local", "cloud", "local", "local", "local", "cloud"]

    run(work, tmp_path, Behaviour(), caps=[Cap.of("total", "share", 0.25)])


def test_the_cheapest_cloud_that_can_is_asked(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        dear, _ = built.gateway.parts.asking.choice.candidates
        dear.upstream.prices = Prices(5.0, 5.0, 50.0)  # type: ignore[attr-defined]
        assert text(await built.ask(HARD)) == "cheap0"

    run(work, tmp_path, Behaviour(), Behaviour(words=1, prefix="cheap"), order="cheapest")


def test_a_deadline_that_the_cloud_usually_misses_keeps_a_question_here(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        (candidate,) = built.gateway.parts.asking.choice.candidates
        for _ in range(5):
            candidate.usual.note(3.0)
        outcome = await built.ask(HARD, replace(CALLER, deadline_ms=2000))
        assert outcome.decision.answered_by == "local"
        assert "the cloud usually takes 3.00 s and" in outcome.decision.why
        assert clouds[0].bodies == []
        outcome = await built.ask(HARD, replace(CALLER, deadline_ms=60_000))
        assert outcome.decision.answered_by == "cloud"

    run(work, tmp_path, Behaviour())


@pytest.mark.parametrize("stream", [False, True])
def test_a_cloud_that_misses_a_deadline_is_left_and_paid(tmp_path: Path, stream: bool) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        assert (await built.ask(HARD)).decision.answered_by == "cloud"  # the ledger is warm
        before = (await built.settled()).cloud_cost.dollars
        caller = replace(CALLER, deadline_ms=1000)
        outcome = await built.ask(HARD, caller, stream=stream)
        assert outcome.decision.answered_by == "local"
        assert outcome.decision.asked
        assert "did not answer within 1000 ms" in outcome.decision.why
        said = content(await streamed(outcome)) if stream else text(outcome)
        assert said == HARD
        trace = await built.settled()
        assert built.dollars() == pytest.approx(before + PRICE)
        assert trace.cloud_cost.completion_tokens == 5

    run(work, tmp_path, [Behaviour(), Behaviour(first_seconds=2)])


@pytest.mark.parametrize(("question", "who"), [(EASY, "local"), (HARD, "cloud")])
def test_both_may_race_and_both_are_paid(tmp_path: Path, question: str, who: str) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        outcome = await built.ask(f"slow {question}", replace(CALLER, deadline_ms=30_000))
        assert outcome.decision.answered_by == who
        assert len(clouds[0].bodies) == 1
        await built.settled()
        assert built.dollars() == pytest.approx(dollars(clouds[0].total.prompt_tokens, 5))

    run(work, tmp_path, Behaviour(), engine=ScriptedEngine(seconds=0.3), race=True)


def test_a_call_of_which_nobody_knows_what_it_cost_is_paid_in_full(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        await built.ask(HARD, max_tokens=100)
        trace = await built.settled()
        (failed,) = trace.failed
        assert trace.estimated
        assert built.dollars() == pytest.approx(failed.cost.dollars)
        assert failed.cost.completion_tokens == 100

    run(work, tmp_path, Behaviour(drop_after=0))


def test_a_call_that_broke_is_looked_up(tmp_path: Path) -> None:
    async def work(built: Built, clouds: list[MockUpstream]) -> None:
        await built.ask(HARD, max_tokens=100)
        trace = await built.settled()
        assert not trace.estimated
        used = clouds[0].total
        assert built.dollars() == pytest.approx(dollars(used.prompt_tokens, 0))

    run(work, tmp_path, Behaviour(drop_after=0), tells_usage=True)
