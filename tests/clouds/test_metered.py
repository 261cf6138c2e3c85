"""The meter: a question crosses once, a failure is tried again, totals do not depend on timing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

from understudy.clouds import MeteredCloud
from understudy.link import Budget
from understudy.types import Cost, Question, Reply, Request


class Scripted:
    """A cloud that fails each prompt so many times first, and replies out of order."""

    def __init__(self, failures: dict[str, int] | None = None) -> None:
        self.failures = failures or {}
        self.requests: list[Request] = []
        self.finished: list[str] = []

    async def answer(self, request: Request) -> Reply:
        self.requests.append(request)
        prompt = request.question.prompt
        for _ in range(10 - len(self.requests)):  # the first asked is the last to finish
            await asyncio.sleep(0)
        self.finished.append(prompt)
        if request.attempt < self.failures.get(prompt, 0):
            return Reply(None, seconds=9.0, error="timeout")
        dollars = 0.1 if prompt == "a" else 1e16
        return Reply(f"reply to {prompt}", 2, 3, dollars, 0.5)


def ask(cloud: MeteredCloud, *prompts: str) -> list[Reply]:
    return asyncio.run(cloud.answer_all([Question.of(prompt) for prompt in prompts]))


def test_a_question_crosses_once_however_often_it_is_asked() -> None:
    far = Scripted()
    cloud = MeteredCloud(far)
    first = ask(cloud, "a", "b", "a", "a")  # in one batch
    second = ask(cloud, "b", "a")  # and later
    assert [request.question.prompt for request in far.requests] == ["a", "b"]
    assert [reply.text for reply in first] == ["reply to a", "reply to b"] + ["reply to a"] * 2
    assert second == [first[1], first[0]]
    assert (cloud.spend.calls, cloud.spend.cache_hits, cloud.spend.failed_calls) == (2, 4, 0)
    assert (cloud.spend.prompt_tokens, cloud.spend.completion_tokens) == (4, 6)


def test_a_failure_is_counted_forgotten_and_tried_again_as_a_new_attempt() -> None:
    far = Scripted({"a": 2})
    cloud = MeteredCloud(far)
    errors = [ask(cloud, "a")[0].error for _ in range(4)]
    assert errors == ["timeout", "timeout", None, None]
    assert [request.attempt for request in far.requests] == [0, 1, 2]
    assert (cloud.spend.calls, cloud.spend.failed_calls, cloud.spend.cache_hits) == (3, 2, 1)


def test_a_failing_question_crosses_once_in_a_batch() -> None:
    far = Scripted({"a": 1})
    replies = ask(MeteredCloud(far), "a", "a", "b")
    assert [reply.error for reply in replies] == ["timeout", "timeout", None]
    assert len(far.requests) == 2


def test_replies_and_totals_keep_the_order_of_the_questions_whoever_finishes_first() -> None:
    far = Scripted()
    cloud = MeteredCloud(far)
    replies = ask(cloud, "a", "b", "c")
    assert far.finished == ["c", "b", "a"]
    assert [reply.text for reply in replies] == ["reply to a", "reply to b", "reply to c"]
    # Sums of floats betray their order.
    assert cloud.spend.dollars == (0.1 + 1e16) + 1e16


def test_one_request_goes_through_the_same_meter() -> None:
    far = Scripted()
    cloud = MeteredCloud(far)
    first = asyncio.run(cloud.answer(Request(Question.of("a"))))
    assert asyncio.run(cloud.answer(Request(Question.of("a")))) == first
    assert (cloud.spend.calls, cloud.spend.cache_hits) == (1, 1)


def test_a_saved_meter_goes_on_where_it_stood() -> None:
    cloud = MeteredCloud(Scripted({"a": 2}))
    ask(cloud, "a", "b", "b")
    far = Scripted({"a": 2})
    resumed = MeteredCloud(far, json.loads(json.dumps(cloud.state())))
    assert resumed.spend == cloud.spend
    for prompts in (("a", "b"), ("a", "c"), ("a",)):
        assert ask(resumed, *prompts) == ask(cloud, *prompts)
    assert [request.attempt for request in far.requests if request.question.prompt == "a"] == [1, 2]
    assert asdict(resumed.spend) == asdict(cloud.spend)
    assert resumed.state() == cloud.state()


def test_no_question_costs_nothing() -> None:
    cloud = MeteredCloud(Scripted())
    assert ask(cloud) == []
    assert cloud.spend.calls == 0


class BreaksOff:
    """A cloud whose every call breaks off after a retry, when it may have been paid for."""

    def __init__(self, price: float = 0.25) -> None:
        self.price = price

    async def answer(self, request: Request) -> Reply:
        return Reply(None, error="timeout", retries=1, may_cost=self.price)

    def estimate(self, question: Question) -> Cost:
        return Cost(calls=1, dollars=self.price)


def test_what_calls_that_broke_off_may_have_cost_is_counted_apart_and_held_by_a_cap() -> None:
    """A dollar is four such calls, whatever they have really cost."""
    budget = Budget({"dollars": 1.0})
    cloud = MeteredCloud(BreaksOff(), budget=budget)
    ask(cloud, *"abcdef")
    spend = cloud.spend
    assert (spend.calls, spend.failed_calls, spend.refused_calls) == (4, 4, 2)
    assert (spend.dollars, spend.unknown_calls, spend.unknown_dollars) == (0.0, 4, 1.0)
    assert spend.retries == 4
    assert MeteredCloud(BreaksOff(), cloud.state()).spend == spend


def test_calls_that_broke_off_are_counted_where_they_are_free() -> None:
    cloud = MeteredCloud(BreaksOff(price=0.0))
    ask(cloud, *"ab")
    assert (cloud.spend.unknown_calls, cloud.spend.unknown_dollars) == (2, 0.0)
