"""The bill of a link: sums of replies, and nothing for what the cache answers."""

from __future__ import annotations

import pytest

from understudy.link import Spend
from understudy.types import Reply

REPLIES = [
    Reply("a", prompt_tokens=3, completion_tokens=5, dollars=0.25, seconds=1.5),
    Reply(None, seconds=30.0, error="timeout"),
    Reply("b", prompt_tokens=7, completion_tokens=1, dollars=0.5, seconds=0.5, error="truncated"),
]


def test_a_bill_is_the_sum_of_its_replies() -> None:
    bill = Spend()
    for reply in REPLIES:
        bill = bill.with_reply(reply)
    assert bill == Spend(
        calls=3,
        failed_calls=2,
        prompt_tokens=10,
        completion_tokens=6,
        dollars=pytest.approx(0.75),
        seconds=pytest.approx(32.0),
    )


def test_the_cache_is_counted_and_costs_nothing() -> None:
    assert Spend(calls=2, dollars=0.5).with_cache_hit() == Spend(2, 0, 1, 0, 0, 0.5, 0.0)


def test_a_bill_never_changes_in_place() -> None:
    before = Spend()
    before.with_reply(REPLIES[0])
    assert before == Spend()
