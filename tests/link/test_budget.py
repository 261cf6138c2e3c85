"""The budget: caps are never overshot, and nothing that fits is refused, whatever the order."""

from __future__ import annotations

import math
import random
import threading
from fractions import Fraction
from typing import Any

import pytest

from understudy.link import Budget, Hold, Refusal
from understudy.types import Cost

CENT = 0.01


class Books:
    """A slow obvious budget: exact sums, everything in lists."""

    def __init__(self, caps: dict[str, float], share: float | None) -> None:
        self.caps = {part: Fraction(str(cap)) for part, cap in caps.items()}
        self.share = None if share is None else Fraction(str(share))
        self.spent: list[Cost] = []
        self.held: list[Cost] = []
        self.seen = 0

    def total(self, part: str, more: Cost | None = None) -> Fraction:
        costs = [*self.spent, *self.held, *([more] if more else [])]
        return sum((Fraction(str(getattr(cost, part))) for cost in costs), Fraction(0))

    def fits(self, cost: Cost) -> bool:
        if any(self.total(part, cost) > cap for part, cap in self.caps.items()):
            return False
        if self.share is None:
            return True
        return self.total("calls", cost) <= math.ceil(self.share * self.seen)


@pytest.mark.parametrize("seed", range(30))
def test_it_decides_as_exact_books_do_in_any_order(seed: int) -> None:
    luck = random.Random(seed)
    caps: dict[str, float] = {"calls": luck.randrange(40)}
    if seed % 2:
        caps |= {"dollars": luck.randrange(300) / 100, "completion_tokens": luck.randrange(4000)}
    share = luck.choice([None, 0.1, 0.3, 1.0])
    budget, books, holds = Budget(caps, share), Books(caps, share), []
    for _ in range(300):
        what = luck.random()
        if what < 0.3:
            budget.see()
            books.seen += 1
        elif what < 0.7:
            cents, tokens = luck.randrange(20), luck.randrange(200)
            cost = Cost(1, completion_tokens=tokens, dollars=round(cents * CENT, 2))
            room, fits = budget.reserve(cost), books.fits(cost)
            assert isinstance(room, Hold) == fits
            if isinstance(room, Hold):
                books.held.append(cost)
                holds.append(room)
        elif holds:
            hold = holds.pop(luck.randrange(len(holds)))
            books.held.remove(hold.cost)
            if luck.random() < 0.3:
                budget.release(hold)
                continue
            less = round(luck.randrange(round(hold.cost.dollars * 100) + 1) * CENT, 2)
            actual = Cost(1, completion_tokens=hold.cost.completion_tokens, dollars=less)
            budget.settle(hold, actual)
            books.spent.append(actual)
        for part, cap in books.caps.items():
            assert books.total(part) <= cap
        if books.share is not None:
            assert books.total("calls") <= math.ceil(books.share * books.seen)
    assert budget.overruns == 0
    for part in caps:
        spent = sum(getattr(cost, part) for cost in books.spent)
        assert budget.spent(part) == pytest.approx(spent)


def test_a_refusal_is_final_where_settling_would_not_help() -> None:
    budget = Budget({"dollars": 1.0})
    hold = budget.reserve(Cost(dollars=0.75))
    assert isinstance(hold, Hold)
    assert budget.reserve(Cost(dollars=0.5)) == Refusal(
        "dollars",
        "1 dollars at most, of which 0 are spent and 0.75 held; the call may take 0.5",
        final=False,
    )
    budget.settle(hold, Cost(dollars=0.75))
    refused = budget.reserve(Cost(dollars=0.5))
    assert isinstance(refused, Refusal)
    assert refused.final


def test_sums_that_fill_a_cap_exactly_fit() -> None:
    budget = Budget({"dollars": 0.3})
    for _ in range(3):  # 0.1 + 0.1 + 0.1 > 0.3 in floating point
        hold = budget.reserve(Cost(dollars=0.1))
        assert isinstance(hold, Hold)
        budget.settle(hold, Cost(dollars=0.1))
    assert isinstance(budget.reserve(Cost(dollars=1e-9)), Refusal)


@pytest.mark.parametrize("share", [0.1, 0.29, 1 / 3, 0.0, 1.0])
def test_a_share_is_a_cap_at_every_moment(share: float) -> None:
    budget, asked = Budget(share=share), 0
    for seen in range(1, 400):
        budget.see()
        room = budget.reserve(Cost(1))
        if isinstance(room, Hold):
            asked += 1
            budget.settle(room, Cost(1))
        assert asked == math.ceil(Fraction(repr(share)) * seen)  # as much as is allowed, no more


def test_a_call_that_costs_more_than_was_held_is_noted_and_closes_the_cap() -> None:
    budget = Budget({"dollars": 1.0, "calls": 9})
    hold = budget.reserve(Cost(1, dollars=0.9))
    assert isinstance(hold, Hold)
    budget.settle(hold, Cost(1, dollars=1.5))
    assert (budget.overruns, budget.spent("dollars"), budget.spent("calls")) == (1, 1.5, 1)
    assert isinstance(budget.reserve(Cost(1)), Refusal)


def test_a_hold_is_used_once() -> None:
    budget = Budget({"calls": 2})
    hold = budget.reserve(Cost(1))
    assert isinstance(hold, Hold)
    budget.release(hold)
    for again in (lambda: budget.release(hold), lambda: budget.settle(hold, Cost(1))):
        with pytest.raises(ValueError, match="before"):
            again()
    assert isinstance(budget.reserve(Cost(2)), Hold)


@pytest.mark.parametrize("wrong", [{"cals": 1}, {"dollars": -1.0}, {"dollars": float("nan")}])
def test_caps_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Budget(wrong)


def test_threads_spend_a_cap_whole_and_no_more() -> None:
    budget, made = Budget({"calls": 500, "dollars": 5.0}), []
    lock, gate = threading.Lock(), threading.Barrier(8)

    def work(seed: int) -> None:
        luck = random.Random(seed)
        gate.wait()
        while True:
            room = budget.reserve(Cost(1, dollars=0.01))
            if isinstance(room, Refusal):
                if room.final:
                    return
                continue
            if luck.random() < 0.2:
                budget.release(room)
                continue
            with lock:
                made.append(room)
            budget.settle(room, Cost(1, dollars=0.01))

    threads: list[Any] = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 500
    assert (budget.spent("calls"), budget.spent("dollars")) == (500, 5.0)
