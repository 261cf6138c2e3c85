"""The bill of a link: a view of its account, and back."""

from __future__ import annotations

from understudy.link import Meter, Spend
from understudy.link.spend import CACHE_HIT, FAILED, REFUSED
from understudy.types import Reply

REPLIES = [
    Reply("a", prompt_tokens=3, completion_tokens=5, dollars=0.25, seconds=1.5),
    Reply(None, seconds=30.0, error="timeout"),
    Reply("b", prompt_tokens=7, completion_tokens=1, dollars=0.5, seconds=0.5, error="truncated"),
]


def charged() -> Meter:
    meter = Meter()
    for reply in REPLIES:
        meter.charge("cloud", "", reply.cost)
    return meter


def test_a_bill_is_the_sum_of_its_replies() -> None:
    meter = charged()
    meter.note("cloud", FAILED, 2)
    meter.note("cloud", CACHE_HIT)
    meter.note("cloud", REFUSED, 4)
    meter.charge("elsewhere", "", REPLIES[0].cost)
    assert Spend.of(meter.account("cloud")) == Spend(
        calls=3,
        failed_calls=2,
        cache_hits=1,
        prompt_tokens=10,
        completion_tokens=6,
        dollars=0.75,
        seconds=32.0,
        refused_calls=4,
    )


def test_a_bill_goes_on_as_an_account() -> None:
    bill = Spend(5, 1, 2, 30, 12, 0.25, 4.5, 3)
    assert Spend.of(bill.account()) == bill
