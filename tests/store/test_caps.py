"""Caps and what they leave, worked by hand."""

from __future__ import annotations

import pytest

from understudy.errors import ConfigError
from understudy.store.caps import Account, Amounts, Cap, Refusal, decimal, granted, room_of, shown
from understudy.types import Cost

MOST = Cost(1, 100, 1000, dollars=1.1)
LEAST = Cost(1, 100, 0, dollars=0.1)


def grant(cap: Cap, spent: Amounts = Amounts(), held: Amounts = Amounts()) -> Cost | Refusal:  # noqa: B008
    account = Account("", "total", "", 0)
    account.spend(spent)
    account.hold(held)
    return granted(MOST, LEAST, [room_of(cap, account, 0.0)])


def dollars(value: float) -> Amounts:
    return Amounts(dollars=round(value * 10**12))


def test_what_fits_is_held_whole() -> None:
    assert grant(Cap.of("total", "dollars", 1.1)) == MOST


def test_what_does_not_fit_is_cut_to_what_is_left_in_whole_tokens() -> None:
    cut = grant(Cap.of("total", "dollars", 0.4005))
    assert cut == Cost(1, 100, 300, dollars=0.4)
    assert grant(Cap.of("total", "tokens", 600)) == Cost(1, 100, 500, dollars=0.6)


def test_a_refusal_is_final_only_where_releasing_every_hold_would_not_help() -> None:
    cap = Cap.of("total", "dollars", 1)
    waits = grant(cap, held=dollars(0.95))
    assert isinstance(waits, Refusal)
    assert not waits.final
    ends = grant(cap, spent=dollars(0.95))
    assert isinstance(ends, Refusal)
    assert ends.final
    assert "$1 at most per lifetime, with $0.95 spent" in ends.reason


def test_a_cap_under_the_least_of_a_call_is_not_spent_but_too_small() -> None:
    small = grant(Cap.of("total", "dollars", 0.00002, "day"))
    assert isinstance(small, Refusal)
    assert small.too_small
    assert small.reason == (
        "total: a cap of $0.00002 per day is smaller than the call takes at least, $0.1"
    )
    spent = grant(Cap.of("total", "calls", 1, "day"), spent=Amounts(calls=1))
    assert isinstance(spent, Refusal)
    assert not spent.too_small
    assert spent.reason == "total: 1 call at most per day, with 1 call spent and 0 calls held"


def test_amounts_are_written_out() -> None:
    assert [decimal(value) for value in (2e-05, 4.25, 12, 0, 1e12)] == [
        *("0.00002", "4.25", "12", "0"),
        "1000000000000",
    ]
    assert shown("dollars", 94 * 10**6) == "$0.000094"
    assert (shown("tokens", 1), shown("share", 2)) == ("1 token", "2 calls")


@pytest.mark.parametrize(("seen", "asked"), [(0, 0), (1, 1), (4, 1), (5, 1), (6, 2), (10, 2)])
def test_a_share_is_rounded_up(seen: int, asked: int) -> None:
    account = Account("", "total", "", 0, seen=seen)
    assert room_of(Cap.of("total", "share", 0.2), account, 0.0).left == asked


def test_a_share_is_the_number_that_was_written() -> None:
    """In binary 0.1 is a little more than a tenth: ceil(0.1 * 10) must be 1 all the same."""
    account = Account("", "total", "", 0, seen=10)
    assert room_of(Cap.of("total", "share", 0.1), account, 0.0).left == 1


def test_a_cap_for_each_key_covers_every_key() -> None:
    cap = Cap.of("key:*", "calls", 3, "day")
    assert cap.covers("key:a")
    assert not cap.covers("total")
    assert cap.account("key:a") != cap.account("key:b")


@pytest.mark.parametrize(
    ("scope", "unit", "most", "window", "more"),
    [
        ("everyone", "dollars", 1, "day", {}),
        ("total", "euros", 1, "day", {}),
        ("total", "dollars", -1, "day", {}),
        ("total", "dollars", float("nan"), "day", {}),
        ("total", "dollars", 1e12, "day", {}),
        ("total", "share", 1.5, "lifetime", {}),
        ("total", "share", 0.5, "30d", {}),
        ("total", "dollars", 1, "30d", {"paced": True}),
    ],
)
def test_what_is_no_cap_is_refused(
    scope: str, unit: str, most: float, window: str, more: dict[str, bool]
) -> None:
    with pytest.raises(ConfigError):
        Cap.of(scope, unit, most, window, **more)  # type: ignore[arg-type]
