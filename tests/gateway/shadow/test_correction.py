"""A judge's error is taken out of what it says, and its uncertainty into the interval."""

from __future__ import annotations

import random

import pytest

from understudy.gateway.shadow.correction import (
    JudgeError,
    effective_size,
    judged,
    observed,
    ratio_reach,
)


def test_a_share_is_corrected_as_worked_by_hand() -> None:
    """Of 100 answers 30 are called wrong, by a judge that finds 8 of 10 and passes 9 of 10."""
    error = JudgeError(wrong=10, found=8, right=10, passed=9)
    # (0.3 + 0.9 - 1) / (0.8 + 0.9 - 1) = 0.2 / 0.7
    assert judged(30, 100, error).share == pytest.approx(2 / 7)
    # Lang and Reiczigel with z = 2: n = 104, q = 32 / 104, se = 9 / 12, sp = 10 / 12,
    # youden = 7 / 12, p = (0.307692 - 0.166667) / 0.583333 = 0.241758,
    # from se: 0.75 * 0.25 / 12 = 0.015625, from sp: 0.138889 / 12 = 0.011574
    # centre = p + 8 * (0.241758 * 0.015625 - 0.758242 * 0.011574) = 0.201769
    # variance = 0.213018 / 104 + 0.058447 * 0.015625 + 0.574930 * 0.011574 = 0.009616
    # reach = 2 * 0.098060 / 0.583333 = 0.336206
    found = judged(30, 100, error, z=2.0)
    assert found.low == 0.0
    assert found.high == pytest.approx(0.201769 + 0.336206, abs=1e-4)


def test_a_judge_that_never_errs_on_many_labels_changes_little() -> None:
    error = JudgeError(wrong=10**6, found=10**6, right=10**6, passed=10**6)
    plain, found = observed(30, 100), judged(30, 100, error)
    assert found.share == pytest.approx(0.3)
    assert found.low == pytest.approx(plain.low, abs=0.01)
    assert found.high == pytest.approx(plain.high, abs=0.01)


def test_fewer_labels_widen_the_interval() -> None:
    many = judged(30, 100, JudgeError(1000, 800, 1000, 900))
    few = judged(30, 100, JudgeError(10, 8, 10, 9))
    assert few.share == pytest.approx(many.share)
    assert few.reach > 1.5 * many.reach


def test_the_interval_covers_what_is_true_about_19_times_in_20() -> None:
    drawn, truth, covered, times = random.Random(0), 0.2, 0, 400

    def count(size: int, share: float) -> int:
        return sum(drawn.random() < share for _ in range(size))

    for _ in range(times):
        called = truth * 0.85 + (1 - truth) * 0.1
        error = JudgeError(40, count(40, 0.85), 60, count(60, 0.9))
        found = judged(count(300, called), 300, error)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / times <= 0.99


def test_repeats_of_a_question_are_worth_less_than_as_many_questions() -> None:
    assert effective_size([1] * 10) == 10
    assert effective_size([10]) == 1
    assert effective_size([2, 1, 1]) == pytest.approx(16 / 6)
    assert effective_size([]) == 0


def test_a_part_of_the_money_has_an_interval() -> None:
    # ratio 1/2; residuals 0.5, -0.5: sqrt(0.5 * 2 / 1) / 2 = 0.5
    assert ratio_reach([1.0, 0.0], [1.0, 1.0], z=1.0) == pytest.approx(0.5)
    assert ratio_reach([1.0, 1.0], [1.0, 1.0]) == 0.0
    assert ratio_reach([1.0], [1.0]) == 0.0
