"""Budget metrics: short phases counted by hand, and loops on random ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import metrics

rates_of_eighths = st.lists(
    st.integers(0, 8).map(lambda eighths: eighths / 8) | st.just(math.nan), max_size=20
)


def test_summary_of_a_phase_counted_by_hand() -> None:
    # mean 3.2 / 8 = 0.4; squares 1 + 1 + 0 + 0 + 0 + 0.36 + 0.16 + 0.04 = 2.56,
    # variance 2.56 / 8 - 0.16 = 0.16; second half (0 + 0.6 + 0.4 + 0.2) / 4 = 0.3.
    rates = [1, 1, 0, 0, 0, 0.6, 0.4, 0.2]
    assert metrics.ask_rate_summary(rates, budget=0.25) == pytest.approx(
        {
            "mean": 0.4,
            "std": 0.4,
            "settled_mean": 0.3,
            "deviation": 0.05,
            "share_over_budget": 0.5,  # 1, 1, 0.6 and 0.4
            "longest_silent": 3,
            "longest_saturated": 2,
        }
    )


def test_settle_is_the_share_of_steps_to_pass_over() -> None:
    rates = [1, 1, 1, 0]
    assert metrics.ask_rate_summary(rates, 0.0, settle=0)["settled_mean"] == 0.75
    assert metrics.ask_rate_summary(rates, 0.0, settle=0.75)["settled_mean"] == 0
    with pytest.raises(ValueError, match="settle=1"):
        metrics.ask_rate_summary(rates, 0.0, settle=1)


def test_an_unmeasured_step_is_left_out_and_interrupts_a_run() -> None:
    summary = metrics.ask_rate_summary([0, 0, math.nan, 0, 1, 1], budget=0.5, settle=0)
    assert summary["mean"] == pytest.approx(0.4)
    assert summary["share_over_budget"] == pytest.approx(0.4)
    assert summary["longest_silent"] == 2


def test_an_empty_phase_has_no_rates() -> None:
    summary = metrics.ask_rate_summary([], budget=0.3)
    runs = {name: summary.pop(name) for name in ("longest_silent", "longest_saturated")}
    assert set(runs.values()) == {0}
    assert all(math.isnan(value) for value in summary.values())


def test_a_rate_in_32_bits_is_not_over_its_budget() -> None:
    rates = np.full(4, 0.3, dtype=np.float32)  # 0.3000000119...
    assert metrics.ask_rate_summary(rates, budget=0.3)["share_over_budget"] == 0


def test_overshoot_is_the_largest_excess_of_the_first_steps() -> None:
    rates = [0.2, 0.7, math.nan, 1.0]
    assert metrics.switch_overshoot(rates, budget=0.3, steps=3) == pytest.approx(0.4)
    assert metrics.switch_overshoot(rates, budget=0.3, steps=1) == pytest.approx(-0.1)
    assert metrics.switch_overshoot(rates, budget=0.3, steps=9) == pytest.approx(0.7)
    assert math.isnan(metrics.switch_overshoot([math.nan], budget=0.3, steps=3))


def test_settling_counts_from_the_last_window_outside_the_band() -> None:
    # Trailing means over two steps, ending after steps 2..6: 1, 0.5, 0.25, 0.5, 0.25.
    rates = [1, 1, 0, 0.5, 0.5, 0]
    assert metrics.settling_steps(rates, budget=0.35, tolerance=0.15, window=2) == 3
    assert metrics.settling_steps(rates, budget=0.25, tolerance=0.1, window=2) == 6
    assert metrics.settling_steps(rates, budget=0.5, tolerance=0.5, window=2) == 2


def test_settling_never() -> None:
    assert math.isnan(metrics.settling_steps([0.3, 0.3, 1], 0.3, tolerance=0.1, window=1))
    assert math.isnan(metrics.settling_steps([0.3], 0.3, tolerance=0.1, window=2))
    assert math.isnan(metrics.settling_steps([0.3, math.nan], 0.3, tolerance=0.1, window=1))
    with pytest.raises(ValueError, match="window=0"):
        metrics.settling_steps([0.3], 0.3, tolerance=0.1, window=0)


def test_rates_are_one_per_step() -> None:
    with pytest.raises(ValueError, match="one rate per step"):
        metrics.ask_rate_summary([[0.1, 0.2]], budget=0.3)


def test_correlation_by_hand() -> None:
    # asked - 0.5: -, -, +, + (0.5 each); difficulty - 2.5: -1.5, 0.5, -0.5, 1.5.
    # Products 0.75 - 0.25 - 0.25 + 0.75 = 1; squares 1 and 5: 1 / sqrt(5).
    assert metrics.ask_difficulty_correlation([0, 0, 1, 1], [1, 3, 2, 4]) == pytest.approx(5**-0.5)
    assert metrics.ask_difficulty_correlation([0, 1], [1, 5]) == pytest.approx(1)
    assert metrics.ask_difficulty_correlation([1, 0, math.nan], [1, 5, 9]) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("asked", "difficulty"), [([1, 1], [1, 2]), ([0, 1], [3, 3]), ([], []), ([0, math.nan], [1, 2])]
)
def test_no_correlation_with_a_constant(asked: list[float], difficulty: list[float]) -> None:
    assert math.isnan(metrics.ask_difficulty_correlation(asked, difficulty))


def longest(rates: list[float], wanted: float) -> int:
    run = most = 0
    for rate in rates:
        run = run + 1 if rate == wanted else 0
        most = max(most, run)
    return most


@given(rates_of_eighths)
def test_summary_matches_plain_loops(rates: list[float]) -> None:
    summary = metrics.ask_rate_summary(rates, budget=0.5)
    known = [rate for rate in rates if not math.isnan(rate)]
    assert summary["longest_silent"] == longest(rates, 0)
    assert summary["longest_saturated"] == longest(rates, 1)
    if known:
        over = sum(rate > 0.5 for rate in known) / len(known)
        assert summary["share_over_budget"] == pytest.approx(over)
        assert summary["mean"] == pytest.approx(sum(known) / len(known))


@given(rates_of_eighths, st.integers(1, 4))
def test_settling_matches_plain_loops(rates: list[float], window: int) -> None:
    budget, tolerance = 0.4, 0.2
    expected = math.nan
    for t in range(len(rates), window - 1, -1):
        known = [rate for rate in rates[t - window : t] if not math.isnan(rate)]
        if not known or abs(sum(known) / len(known) - budget) > tolerance + 1e-6:
            break
        expected = t
    settled = metrics.settling_steps(rates, budget, tolerance, window)
    assert settled == pytest.approx(expected, nan_ok=True)
