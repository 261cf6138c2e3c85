"""Learning speed, gain and the value of information on points made by hand."""

from __future__ import annotations

import math

import pytest

from understudy.metrics import (
    deciles,
    gain_per_log_cost,
    learning_speed,
    mean_learning_speed,
    relative_gain,
    slope_error,
    user_summary,
    value_of_information,
    well_spread,
)

NAN = float("nan")


def test_learning_speed_is_the_mean_height() -> None:
    assert learning_speed([0, 100], [0.5, 1.0]) == 0.75
    assert learning_speed([0, 10, 100], [0.0, 1.0, 1.0]) == pytest.approx(0.95)
    assert learning_speed([0, 10, 20], [0.0, NAN, 1.0]) == 0.5


def test_a_curve_needs_two_epochs_in_order() -> None:
    for epochs in ([3], [1, 1], [2, 1]):
        with pytest.raises(ValueError, match="increasing"):
            learning_speed(epochs, [0.5] * len(epochs))


def test_the_first_tasks_are_left_out() -> None:
    curves = [[0.0, 0.0]] * 4 + [[0.4, 0.6], [0.8, 1.0]]
    assert mean_learning_speed([0, 101], curves) == pytest.approx(0.7)
    assert math.isnan(mean_learning_speed([0, 101], curves[:4]))


def test_relative_gain_is_a_mean_of_pairs() -> None:
    assert relative_gain([0.9, 0.55], [0.6, 0.5]) == pytest.approx((50 + 10) / 2)
    assert relative_gain([0.9, NAN], [0.6, 0.5]) == pytest.approx(50)


def test_a_line_on_the_logarithm_of_cost_is_found() -> None:
    costs = [100, 1000, 10_000]
    gains = [2 + 1.58 * math.log(cost) for cost in costs]
    assert gain_per_log_cost(costs, gains) == pytest.approx((1.58, 2.0))
    # (0, 1), (1, 1), (2, 4) on ln(cost): slope 3/2, mean 2 at 1.
    slope, intercept = gain_per_log_cost([1, math.e, math.e**2], [1, 1, 4])
    assert (slope, intercept) == pytest.approx((1.5, 0.5))


def test_the_error_of_a_slope() -> None:
    # x = 0, 1, 2 on ln(cost): weights -1/2, 0, 1/2, of gains with errors 1, 7, 1.
    assert slope_error([1, math.e, math.e**2], [1, 7, 1]) == pytest.approx(math.sqrt(0.5))


def test_costs_that_say_something_of_what_more_is_worth() -> None:
    assert well_spread([100, 150, 225])
    assert not well_spread([100, 102])
    assert not well_spread([100, 149, 223])  # 149 is passed over
    assert well_spread([1000, 10, 10, 100])
    assert not well_spread([0, 10, 100])


def test_a_line_needs_two_costs() -> None:
    for costs in ([10, 10], [0, 10]):
        with pytest.raises(ValueError, match="different costs"):
            gain_per_log_cost(costs, [1, 2])


def test_the_value_of_information_is_a_mean_of_ratios() -> None:
    assert value_of_information([10, 100], [5, 10]) == pytest.approx((0.5 + 0.1) / 2)


def test_weighting_by_test_samples_pools_them() -> None:
    scores, tests = [0.5, 1.0], [30, 10]
    assert user_summary(scores, tests)["mean"] == pytest.approx(25 / 40)
    assert user_summary(scores, tests)["std"] == pytest.approx(math.sqrt(0.046875))
    assert user_summary(scores, tests, weights="none")["mean"] == 0.75
    leaf = user_summary(scores, tests, [10, 30], weights="leaf")
    assert (leaf["mean"], leaf["std"]) == (0.75, 0.0625)  # its "std" is a variance


def test_the_worst_the_best_and_the_deciles_are_of_users() -> None:
    found = user_summary([i / 10 for i in range(11)], range(1, 12))
    assert (found["worst"], found["best"]) == (0.0, 1.0)
    assert [found[f"decile_{i}"] for i in range(1, 10)] == pytest.approx(
        [i / 10 for i in range(1, 10)]
    )
    assert deciles([0.3]).tolist() == [0.3] * 9


def test_users_that_were_not_measured_are_left_out() -> None:
    assert user_summary([0.5, NAN], [10, 10])["mean"] == 0.5
    with pytest.raises(ValueError, match="no user"):
        user_summary([NAN], [10])
    with pytest.raises(ValueError, match="train_samples"):
        user_summary([0.5], [10], weights="leaf")
