"""Thresholds hold on questions that they were not fitted on, and ask where the cloud gains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.routing.test_routers import evidence, outcomes, router
from understudy.routing.evidence import Evidence, Outcomes
from understudy.routing.router import Router, never_asks, to_test
from understudy.routing.thresholds import (
    binomial_below,
    most_above,
    number_that_gains,
    threshold_above,
    whole_ties,
)

NEVER, UNKNOWN = 1e4, float("nan")


def test_the_binomial_by_hand() -> None:
    assert binomial_below(3, 0.5).tolist() == pytest.approx([1 / 8, 4 / 8, 7 / 8, 1])
    assert binomial_below(2, 0.1).tolist() == pytest.approx([0.81, 0.99, 1])
    assert binomial_below(100_000, 0.3)[30_000] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("count", "budget", "most"),
    [
        (10, 0.0, -1),
        (10, 1.0, 10),
        (4, 0.5, 0),  # 1/16 below 1/10; one more: 5/16
        (3, 0.5, -1),  # 1/8: even the highest score of three is no bound
        (7, 0.5, 1),  # 8/128; two more: 29/128
    ],
)
def test_how_many_may_lie_above_by_hand(count: int, budget: float, most: int) -> None:
    assert most_above(count, budget, 0.9) == most


def test_of_ties_all_or_none_lie_above() -> None:
    scores = np.array([1.0, 3.0, 2.0, 2.0])
    assert [threshold_above(scores, most) for most in (-1, 0, 1, 2, 3, 4)] == [
        math.inf,
        3.0,
        2.0,
        2.0,
        1.0,
        -math.inf,
    ]


def test_a_tie_leaves_whole_where_the_limit_lets_it() -> None:
    scores = np.array([2.0, 3.0, 2.0, 1.0, 2.0])  # falling: 3, then three times 2, then 1
    assert [whole_ties(scores, most, 4) for most in range(-1, 6)] == [-1, 0, 1, 4, 4, 4, 4]
    assert [whole_ties(scores, most, 3) for most in range(-1, 5)] == [-1, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize(("count", "budget"), [(40, 0.2), (96, 0.1), (300, 0.5)])
def test_the_share_of_fits_over_budget_is_what_the_confidence_allows(
    count: int, budget: float, confidence: float
) -> None:
    rng, fits = np.random.default_rng(0), 2000
    most = most_above(count, budget, confidence)
    # Scores are uniform, so 1 - threshold is the share of all questions above it.
    over = [threshold_above(rng.random(count), most) < 1 - budget for _ in range(fits)]
    error = math.sqrt(confidence * (1 - confidence) / fits)
    assert np.mean(over) <= 1 - confidence + 3 * error
    one_more = [threshold_above(rng.random(count), most + 1) < 1 - budget for _ in range(fits)]
    assert np.mean(one_more) > 1 - confidence - 3 * error  # no question is refused in vain


def test_what_is_held_back_vanishes_as_questions_grow() -> None:
    kept = [0.3 - most_above(count, 0.3, 0.9) / count for count in (100, 1000, 10_000, 100_000)]
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < 0.002


def test_where_the_cloud_gains_by_hand() -> None:
    # One part of less than twelve questions: four decided ones that all gain are 1/16.
    assert number_that_gains(np.ones(4), 0.9) == 4
    assert number_that_gains(np.array([1.0, 1.0, 1.0, 0.0]), 0.9) == 0
    assert number_that_gains(np.ones(3), 0.9) is None  # 1/8 at best
    assert number_that_gains(np.full(9, UNKNOWN), 0.9) is None
    # A level of 1/40 for each of four parts: six decided questions that all gain are 1/64.
    won = np.zeros(24)
    won[:6] = 1.0
    assert number_that_gains(won, 0.9) == 6
    won[5] = 0.0
    assert number_that_gains(won, 0.9) == 0
    assert number_that_gains(-np.ones(100), 0.9) == 0
    assert number_that_gains(np.zeros(100), 0.9) == 0
    first_half = np.array([1.0] * 20 + [-1.0] * 20)
    assert number_that_gains(first_half, 0.9) == 20
    every_other = np.full(24, UNKNOWN)
    every_other[::2] = 1.0
    assert number_that_gains(every_other, 0.9) == 24
    every_other[12::2] = -1.0
    assert number_that_gains(every_other, 0.9) == 11  # up to the last one that is known


def test_a_cloud_that_is_no_better_is_hardly_ever_asked_and_a_better_one_is() -> None:
    rng = np.random.default_rng(1)

    def share_asked(better: float, fits: int) -> float:
        chances = [0.2, 0.6 - better, 0.2 + better]
        gains = (rng.choice([-1.0, 0.0, 1.0], size=60, p=chances) for _ in range(fits))
        return float(np.mean([bool(number_that_gains(gain, 0.9)) for gain in gains]))

    assert share_asked(0.0, 4000) <= 0.08  # four parts at the whole level each give 0.13
    assert share_asked(0.4, 1000) > 0.9


def known(local: Any, cloud: Any) -> Outcomes:
    return Outcomes(np.asarray(local, dtype=np.float64), np.asarray(cloud, dtype=np.float64))


def test_asking_ends_where_the_cloud_does_not_gain() -> None:
    rng = np.random.default_rng(2)
    given = evidence(rng.normal(size=400))
    local = (rng.random(400) < 0.5).astype(float)
    calibrated = router("calibrated")

    def threshold(cloud: Any, budget: float = 0.3) -> float:
        return float(calibrated.fit(given, known(local, cloud), budget).threshold)

    unknown = calibrated.fit(given, outcomes(local), 0.3)
    assert threshold(np.ones(400)) == unknown.threshold
    assert threshold(local) == NEVER  # as right as the local model, on the same questions
    assert threshold(np.zeros(400)) == NEVER
    # It gains where the score is highest, and nowhere else.
    places = np.argsort(-given.margin)
    cloud = local.copy()
    cloud[places[:50]], cloud[places[50:]] = 1.0, 0.0
    asked = calibrated.fit(given, known(local, cloud), 0.3).decisions(given)
    assert set(np.flatnonzero(asked)) <= set(places[:56])
    assert asked.sum() > 40
    free = router({"kind": "calibrated", "spare": False})
    assert free.fit(given, known(local, np.zeros(400)), 0.3).decisions(given).sum() > 100


def test_the_cloud_is_asked_about_questions_that_would_leave_evenly_over_their_scores() -> None:
    given = evidence(np.arange(1000.0))
    wrong = outcomes(np.zeros(1000))
    few = router({"kind": "calibrated", "calls": 4}).fit(given, wrong, 0.3)
    leaving = np.flatnonzero(few.decisions(given))
    asked = to_test(few, given)
    assert asked == sorted(asked)
    assert len(asked) == 4
    assert asked[-1] == 999
    steps = np.diff(asked)
    assert steps.max() - steps.min() <= 1
    assert asked[0] >= leaving[0] > 600
    every = router({"kind": "calibrated", "calls": 1000}).fit(given, wrong, 0.3)
    assert to_test(every, given) == leaving.tolist()
    assert router({"kind": "calibrated", "spare": False}).calls == 0
    assert router("own").calls == router("random").calls == 0


def test_where_few_may_leave_the_cloud_is_asked_about_more() -> None:
    given, wrong = evidence(np.arange(100.0)), outcomes(np.zeros(100))
    assert most_above(100, 0.05, 0.9) == 1
    assert to_test(router("calibrated").fit(given, wrong, 0.05), given) == list(range(52, 100))
    for budget, local in ((0.0, np.zeros(100)), (0.02, np.zeros(100)), (0.3, np.ones(100))):
        nobody = router("calibrated").fit(given, outcomes(local), budget)
        assert nobody.threshold == NEVER
        assert to_test(nobody, given) == []  # no answer could change that


def fitted(given: Evidence, local: Any, cloud: Any, budget: float) -> Router:
    """As an examination fits it: the cloud is asked where `to_test` says so."""
    first = router("calibrated").fit(given, outcomes(local), budget)
    seen, places = np.full(len(given), UNKNOWN), to_test(first, given)
    seen[places] = np.asarray(cloud, dtype=np.float64)[places]
    return router("calibrated").fit(given, known(local, seen), budget)


# Few validation questions, or a small budget: less than six may leave.
SMALL = [(64, 0.1), (58, 0.1), (20, 0.3), (45, 0.05), (10, 0.5), (8, 0.5)]


@pytest.mark.parametrize(("count", "budget"), SMALL)
def test_a_strong_cloud_is_asked_by_small_budgets_and_few_questions(
    count: int, budget: float
) -> None:
    rng = np.random.default_rng(3)
    given = evidence(rng.normal(size=count))
    local = rng.permutation(np.arange(count) < 0.4 * count)
    most = most_above(count, budget, 0.9)
    assert 0 <= most < 6
    asked = fitted(given, local, np.ones(count), budget)
    assert asked.decisions(given).sum() == most
    assert asked.threshold < NEVER
    assert fitted(given, local, np.zeros(count), budget).threshold == NEVER


@pytest.mark.parametrize(
    ("count", "budget", "right"), [(64, 0.1, 0.5), (64, 1.0, 0.5), (20, 0.5, 0.5), (192, 0.3, 0.8)]
)
def test_a_cloud_that_is_as_good_is_asked_no_oftener_than_the_confidence_allows(
    count: int, budget: float, right: float
) -> None:
    rng = np.random.default_rng(4)
    given = evidence(rng.normal(size=count))
    pairs = (rng.random((2, count)) < right for _ in range(600))
    asked = [fitted(given, local, cloud, budget).threshold < NEVER for local, cloud in pairs]
    assert np.mean(asked) <= 0.08


def test_a_cloud_that_loses_where_questions_would_leave_is_not_asked() -> None:
    """It gains on the 48 that are tested, but not on the two of them that leave."""
    given, local = evidence(np.arange(64.0)[::-1]), np.zeros(64)
    local[:2] = 1.0
    cloud = 1.0 - local
    assert most_above(64, 0.1, 0.9) == 2
    assert number_that_gains((cloud - local)[:48], 0.9) == 48
    assert fitted(given, local, cloud, 0.1).threshold == NEVER
    assert fitted(given, local, np.ones(64), 0.1).threshold < NEVER


def test_too_few_calls_for_a_test_leave_it_to_what_fails() -> None:
    given, local = evidence(np.arange(100.0)), np.zeros(100)
    seen = np.full(100, UNKNOWN)
    seen[-3:] = 0.0
    by_failures = router("calibrated").fit(given, outcomes(local), 0.3)
    assert by_failures.decisions(given).any()
    assert router("calibrated").fit(given, known(local, seen), 0.3) == by_failures


@pytest.mark.parametrize("failed", [8, 10])
def test_equal_scores_leave_together_where_a_few_of_them_are_right(failed: int) -> None:
    """Ten lead with one score; the local model fails on most of these, the cloud on none."""
    scores = np.where(np.arange(100) < 10, 1.0, -np.arange(100.0))
    given, local = evidence(scores), np.arange(100) >= failed
    assert most_above(100, 0.3, 0.9) == 23
    asked = fitted(given, local, np.ones(100), 0.3)
    assert np.flatnonzero(asked.decisions(given)).tolist() == list(range(10))
    assert never_asks(asked, given, known(local, np.ones(100))) is None


@pytest.mark.parametrize(
    ("count", "budget", "scores", "right", "why"),
    [
        (
            30,
            0.05,
            None,
            0.0,
            "30 validation questions are too few to hold a budget of 0.05; raise",
        ),
        (100, 0.3, None, 0.0, "of the 48 that the cloud was asked too, it gained 0 and lost 24"),
        (
            100,
            0.3,
            np.zeros(100),
            1.0,
            "the 100 highest scores are equal, and the budget of 0.3 lets 23 of 100 questions",
        ),
        (100, 0.3, None, 1.0, None),
        (100, 0.0, None, 1.0, None),  # no budget: nothing is missing
    ],
)
def test_that_nobody_asks_is_said_with_its_reason(
    count: int, budget: float, scores: Any, right: float, why: str | None
) -> None:
    given = evidence(np.arange(float(count)) if scores is None else scores)
    local = np.arange(count) % 2.0
    seen = np.full(count, UNKNOWN)
    seen[-48:] = right
    used = router("calibrated").fit(given, known(local, seen), budget)
    said = never_asks(used, given, known(local, seen))
    assert said is None if why is None else why in str(said)
    right_everywhere = router("calibrated").fit(given, outcomes(np.ones(count)), budget)
    assert never_asks(right_everywhere, given, outcomes(np.ones(count))) is None
    assert (
        never_asks(router("own").fit(given, outcomes(local), budget), given, outcomes(local))
        is None
    )
