"""Calls in flight: equal questions share one, streams are shared, and a cap is a reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from understudy.clouds import MeteredCloud
from understudy.link import Budget, ReplyLog
from understudy.types import Cost, Options, Question, Reply, Request


class Gated:
    """Answers when the test lets it; streams its answer in three pieces."""

    def __init__(self, *fails: str) -> None:
        self.fails = fails
        self.asked: list[str] = []
        self.gate = asyncio.Event()

    async def answer(self, request: Request) -> Reply:
        self.asked.append(request.question.prompt)
        await self.gate.wait()
        if request.question.prompt in self.fails:
            return Reply(None, error="timeout")
        return Reply("one two three", 2, 3, 0.25)

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        self.asked.append(request.question.prompt)
        yield "one "
        await self.gate.wait()
        yield "two "
        yield "three"
        yield Reply("one two three", 2, 3, 0.25)

    def estimate(self, question: Question) -> Cost:
        return Cost(1, 2, 3, dollars=0.5)


def request(prompt: str) -> Request:
    return Request(Question.of(prompt))


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_equal_questions_at_once_are_one_call() -> None:
    async def five() -> None:
        far = Gated()
        cloud = MeteredCloud(far)
        waiting = [asyncio.create_task(cloud.answer(request("a"))) for _ in range(5)]
        await turns()
        far.gate.set()
        assert {reply.text for reply in await asyncio.gather(*waiting)} == {"one two three"}
        assert far.asked == ["a"]
        assert (cloud.spend.calls, cloud.spend.cache_hits, cloud.spend.dollars) == (1, 4, 0.25)

    asyncio.run(five())


def test_other_options_make_another_call() -> None:
    async def two() -> None:
        far = Gated()
        far.gate.set()
        cloud = MeteredCloud(far)
        plain = Question.of("a")
        warm = Question(plain.messages, Options(temperature=0.7))
        await asyncio.gather(*(cloud.answer(Request(each)) for each in (plain, warm, plain)))
        assert far.asked == ["a", "a"]

    asyncio.run(two())


def test_a_failed_call_is_shared_and_the_next_is_a_new_attempt() -> None:
    async def three() -> None:
        far = Gated("a")
        cloud = MeteredCloud(far)
        waiting = [asyncio.create_task(cloud.answer(request("a"))) for _ in range(3)]
        await turns()
        far.gate.set()
        assert {reply.error for reply in await asyncio.gather(*waiting)} == {"timeout"}
        assert (cloud.spend.calls, cloud.spend.failed_calls, cloud.spend.cache_hits) == (1, 1, 2)
        await cloud.answer(request("a"))
        assert far.asked == ["a", "a"]

    asyncio.run(three())


@pytest.mark.parametrize("leaves", [0, 1, 2])
def test_who_stops_waiting_leaves_the_call_to_the_others(leaves: int, tmp_path: Path) -> None:
    async def leave() -> None:
        far = Gated()
        cloud = MeteredCloud(far, log=ReplyLog(tmp_path / "replies.jsonl"))
        waiting = [asyncio.create_task(cloud.answer(request("a"))) for _ in range(3)]
        await turns()
        waiting.pop(leaves).cancel()
        await turns()
        far.gate.set()
        assert [reply.text for reply in await asyncio.gather(*waiting)] == ["one two three"] * 2
        assert far.asked == ["a"]
        assert cloud.spend.calls == 1
        cloud.close()

    asyncio.run(leave())


def test_a_call_that_nobody_waits_for_any_more_is_paid_and_kept() -> None:
    async def leave() -> None:
        far = Gated()
        cloud = MeteredCloud(far)
        waiting = asyncio.create_task(cloud.answer(request("a")))
        await turns()
        waiting.cancel()
        far.gate.set()
        await turns()
        assert (await cloud.answer(request("a"))).text == "one two three"
        assert (far.asked, cloud.spend.calls) == (["a"], 1)

    asyncio.run(leave())


def test_a_stream_is_shared_from_its_beginning_with_who_comes_late() -> None:
    async def share() -> None:
        far = Gated()
        cloud = MeteredCloud(far)

        async def read() -> list[str | Reply]:
            return [part async for part in cloud.stream(request("a"))]

        first = asyncio.create_task(read())
        await turns()
        late, whole = asyncio.create_task(read()), asyncio.create_task(cloud.answer(request("a")))
        await turns()
        far.gate.set()
        parts = await first
        assert parts[:-1] == ["one ", "two ", "three"]
        assert await late == parts
        assert await whole == parts[-1]
        known = await read()
        assert known == ["one two three", parts[-1]]
        assert (far.asked, cloud.spend.calls, cloud.spend.cache_hits) == (["a"], 1, 3)

    asyncio.run(share())


def test_a_reader_that_leaves_a_stream_stops_nothing() -> None:
    async def leave() -> None:
        far = Gated()
        cloud = MeteredCloud(far)
        stream = cloud.stream(request("a"))
        assert await anext(stream) == "one "
        await stream.aclose()
        far.gate.set()
        assert (await cloud.answer(request("a"))).text == "one two three"
        assert (far.asked, cloud.spend.calls) == (["a"], 1)

    asyncio.run(leave())


@pytest.mark.parametrize("caps", [{"calls": 3}, {"dollars": 1.0}])
def test_a_cap_is_never_overshot_and_a_refused_call_is_a_reply(caps: dict[str, float]) -> None:
    async def many() -> None:
        far = Gated()
        far.gate.set()
        cloud = MeteredCloud(far, budget=Budget(caps))
        replies = await cloud.answer_all([Question.of(f"question {i}") for i in range(10)])
        # Each call may take 0.50 and takes 0.25: the fourth has no room for what it may take.
        answered = [reply for reply in replies if reply.error is None]
        assert len(answered) == len(far.asked) == 3
        assert far.asked == [f"question {i}" for i in range(3)]  # in the order asked
        (part,) = caps
        assert all(f"cloud.max_{part} is reached" in (r.error or "") for r in replies[3:])
        spend = cloud.spend
        assert (spend.calls, spend.failed_calls, spend.refused_calls) == (3, 0, 7)
        again = await cloud.answer(request("question 1"))
        assert again == replies[1]  # what is known is still known

    asyncio.run(many())


def test_who_has_no_room_waits_for_those_before_it_to_settle() -> None:
    """Three may be held at once; four fit in the end."""

    async def many() -> None:
        far = Gated()
        budget = Budget({"dollars": 1.5})
        cloud = MeteredCloud(far, budget=budget)
        waiting = asyncio.create_task(
            cloud.answer_all([Question.of(f"question {i}") for i in range(7)])
        )
        await turns()
        assert len(far.asked) == 3
        far.gate.set()
        replies = await waiting
        assert [reply.error is None for reply in replies] == [True] * 5 + [False] * 2
        assert budget.spent("dollars") == 1.25

    asyncio.run(many())


def test_a_refused_question_is_no_attempt_and_not_logged(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    far = Gated()
    far.gate.set()
    cloud = MeteredCloud(far, log=ReplyLog(path), budget=Budget({"calls": 1}))
    cloud.replies([Question.of("a"), Question.of("b")])
    state = cloud.state()
    cloud.close()
    assert [entry.question.prompt for entry in ReplyLog(path).entries()] == ["a"]
    assert state["attempts"] == []
    assert state["spend"]["refused_calls"] == 1


class Empty:
    """Gives neither a text nor an error."""

    async def answer(self, request: Request) -> Reply:
        return Reply(None)

    async def stream(self, request: Request) -> AsyncIterator[str | Reply]:
        yield Reply(None)


def test_a_reply_of_nothing_is_a_failed_call() -> None:
    async def both() -> None:
        cloud = MeteredCloud(Empty())
        assert (await cloud.answer(request("a"))).error == "no answer"
        (reply,) = [piece async for piece in cloud.stream(request("b"))]
        assert isinstance(reply, Reply)
        assert reply.error == "no answer"
        assert (cloud.spend.calls, cloud.spend.failed_calls) == (2, 2)

    asyncio.run(both())
