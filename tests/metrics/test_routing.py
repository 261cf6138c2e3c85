"""Routing metrics: small cases on paper, limits, ties, and references that try everything."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import metrics

SHARES = np.linspace(0, 1, 5)

# Four queries, the first asked first: weak 2/4, strong 3/4.
SCORE = [0.9, 0.7, 0.4, 0.1]
LOCAL = [0, 1, 1, 0]
CLOUD = [1, 1, 0, 1]
# Right answers when 0, 1, 2, 3, 4 queries are asked: 2, 3, 3, 2, 3.
CURVE = [0.5, 0.75, 0.75, 0.5, 0.75]


def test_gap_recovered_and_random_offloading_are_inverse_lines() -> None:
    assert metrics.performance_gap_recovered(0.7, weak=0.6, strong=0.8) == pytest.approx(0.5)
    assert metrics.random_offloading(0.6, 0.8, share=0.5) == pytest.approx(0.7)
    accuracy = metrics.random_offloading(0.6, 0.8, SHARES)
    assert metrics.performance_gap_recovered(accuracy, 0.6, 0.8) == pytest.approx(SHARES)
    assert math.isnan(metrics.performance_gap_recovered(0.7, weak=0.6, strong=0.6))


def test_what_decisions_give_by_hand() -> None:
    local, cloud = np.array(LOCAL, bool), np.array(CLOUD, bool)
    assert metrics.served(local, cloud, np.array([True, False, True, False])) == (0.5, 0.5)
    # One chance for all: the line from 2/4 to 3/4.
    assert metrics.served(local, cloud, np.full(4, 0.5)) == pytest.approx((0.5, 0.625))
    # The first surely, the third half the time: +1 and half of -1.
    chances = np.array([1.0, 0.0, 0.5, 0.0])
    assert metrics.served(local, cloud, chances) == pytest.approx((1.5 / 4, 2.5 / 4))


def test_deferral_curve_by_hand() -> None:
    assert metrics.deferral_curve(SCORE, LOCAL, CLOUD, SHARES) == pytest.approx(CURVE)
    # A third query asked half the time: 3 right, or 2.
    half = metrics.deferral_curve(SCORE, LOCAL, CLOUD, [2.5 / 4])
    assert half == pytest.approx([2.5 / 4])


def test_tied_queries_are_asked_in_expectation() -> None:
    everything_tied = metrics.deferral_curve([1, 1, 1, 1], LOCAL, CLOUD, SHARES)
    assert everything_tied == pytest.approx(metrics.random_offloading(0.5, 0.75, SHARES))
    # The last two tied: the third asked gains (-1 + 1) / 2 of an answer.
    tied = metrics.deferral_curve([3, 2, 1, 1], LOCAL, CLOUD, SHARES)
    assert tied == pytest.approx([0.5, 0.75, 0.75, 0.75, 0.75])


def test_a_query_not_measured_is_left_out() -> None:
    nan = math.nan
    curve = metrics.deferral_curve([*SCORE, 5, nan], [*LOCAL, 1, 1], [*CLOUD, nan, 0], SHARES)
    assert curve == pytest.approx(CURVE)
    assert np.isnan(metrics.deferral_curve([nan], [1], [1], SHARES)).all()


def test_shares_outside_zero_and_one_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.deferral_curve(SCORE, LOCAL, CLOUD, [1.5])
    with pytest.raises(ValueError, match="of one length"):
        metrics.deferral_curve(SCORE[:3], LOCAL, CLOUD, SHARES)


def test_oracle_by_hand() -> None:
    # Gains +1, 0, -1, +1: asks both useful ones first, the harmful one last: 2, 3, 4, 4, 3 right.
    oracle = metrics.oracle_curve(LOCAL, CLOUD, SHARES)
    assert oracle == pytest.approx([0.5, 0.75, 1, 1, 0.75])
    # PGR 0, 1, 2, 2, 1: area (0.5 + 1.5 + 2 + 1.5) / 4 = 1.375, over 1 and left there.
    assert metrics.apgr(SHARES, oracle, 0.5, 0.75) == pytest.approx(1.375)


def test_apgr_by_hand() -> None:
    # PGR 0, 1, 1, 0, 1: (0.5 + 1 + 0.5 + 0.5) / 4.
    assert metrics.apgr(SHARES, CURVE, 0.5, 0.75) == pytest.approx(0.625)
    backwards = metrics.apgr(SHARES[::-1], CURVE[::-1], 0.5, 0.75)
    assert backwards == pytest.approx(0.625)
    # Without its middle point the curve goes straight from 1 to 0: the area stays by symmetry
    # (0.5 + (1 + 0) / 2 * 2 + 0.5) / 4 = 0.5.
    unmeasured = [0.5, 0.75, math.nan, 0.5, 0.75]
    assert metrics.apgr(SHARES, unmeasured, 0.5, 0.75) == pytest.approx(0.5)


def test_apgr_of_random_offloading_is_a_half() -> None:
    assert metrics.apgr(SHARES, 0.6 + 0.2 * SHARES, 0.6, 0.8) == pytest.approx(0.5)
    assert math.isnan(metrics.apgr(SHARES, CURVE, 0.7, 0.7))


@pytest.mark.parametrize("shares", [[0, 0.5], [0.5, 1], [0, math.nan]])
def test_apgr_needs_both_ends(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="at 0 and at 1"):
        metrics.apgr(shares, [0.5, 0.7], 0.5, 0.7)


def test_cpt_by_hand() -> None:
    # PGR rises from 0 at share 0 to 1 at share 1/4: half of it at 1/8.
    assert metrics.cpt(0.5, SHARES, CURVE, 0.5, 0.75) == pytest.approx(0.125)
    assert metrics.cpt(1, SHARES, CURVE, 0.5, 0.75) == pytest.approx(0.25)
    assert metrics.cpt(0, SHARES, CURVE, 0.5, 0.75) == 0
    assert math.isnan(metrics.cpt(1.5, SHARES, CURVE, 0.5, 0.75))
    assert math.isnan(metrics.cpt(0.5, SHARES, CURVE, 0.7, 0.7))
    assert metrics.cpt(0.8, SHARES, 0.6 + 0.2 * SHARES, 0.6, 0.8) == pytest.approx(0.8)


def test_aiq_by_hand() -> None:
    # Hull over cost 0..4: (0, 0), (1, 0.6), (2, 0.8), flat to 4; (3, 0.7) and (1, 0.2) lie under
    # it. Area 0.3 + 0.7 + 1.6 = 2.6, over the range 4: 0.65.
    cost, quality = [4, 0, 1, 1, 2, 3], [0.5, 0.0, 0.2, 0.6, 0.8, 0.7]
    assert metrics.aiq(cost, quality) == pytest.approx(0.65)
    assert metrics.aiq([*cost, 9], [*quality, math.nan]) == pytest.approx(0.65)


def test_aiq_limits() -> None:
    assert metrics.aiq([1, 3], [0.5, 0.7]) == pytest.approx(0.6)
    assert metrics.aiq([1, 3], [0.7, 0.5]) == pytest.approx(0.7)
    assert math.isnan(metrics.aiq([1, 1], [0.5, 0.7]))
    assert math.isnan(metrics.aiq([], []))


def by_every_order(rows: list[tuple[int, int, int]]) -> list[float]:
    """Accuracy with 0, 1, ... n asked, averaged over all orders that a sort could leave ties in."""
    n = len(rows)
    orders = [
        order
        for order in itertools.permutations(rows)
        if all(first[0] >= second[0] for first, second in itertools.pairwise(order))
    ]
    return [
        sum(
            sum(cloud for _, _, cloud in order[:k]) + sum(local for _, local, _ in order[k:])
            for order in orders
        )
        / (n * len(orders))
        for k in range(n + 1)
    ]


bit = st.integers(0, 1)
query_rows = st.lists(st.tuples(st.integers(0, 2), bit, bit), min_size=1, max_size=5)


@settings(deadline=None)
@given(query_rows)
def test_deferral_curve_averages_every_order_of_ties(rows: list[tuple[int, int, int]]) -> None:
    score, local, cloud = zip(*rows, strict=True)
    shares = np.linspace(0, 1, len(rows) + 1)
    curve = metrics.deferral_curve(score, local, cloud, shares)
    assert curve == pytest.approx(by_every_order(rows))


@settings(deadline=None)
@given(query_rows)
def test_no_score_beats_the_oracle(rows: list[tuple[int, int, int]]) -> None:
    score, local, cloud = zip(*rows, strict=True)
    curve = metrics.deferral_curve(score, local, cloud, SHARES)
    oracle = metrics.oracle_curve(local, cloud, SHARES)
    assert (curve <= oracle + 1e-12).all()
    assert curve[[0, -1]] == pytest.approx([np.mean(local), np.mean(cloud)])


def best_mixture(points: list[tuple[int, int]], cost: int) -> float:
    """The best quality of one point, or two in turn, at no more than this mean cost."""
    best = max(float(quality) for price, quality in points if price <= cost)
    for (low, q0), (high, q1) in itertools.permutations(points, 2):
        if low <= cost < high:
            best = max(best, q0 + (q1 - q0) * (cost - low) / (high - low))
    return best


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=7))
def test_aiq_matches_the_best_mixture_at_every_cost(points: list[tuple[int, int]]) -> None:
    cost, quality = zip(*points, strict=True)
    knots = sorted(set(cost))
    expected = math.nan
    if len(knots) > 1:
        best = [best_mixture(points, knot) for knot in knots]
        steps = zip(itertools.pairwise(knots), itertools.pairwise(best), strict=True)
        area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, x1), (y0, y1) in steps)
        expected = area / (knots[-1] - knots[0])
    assert metrics.aiq(cost, quality) == pytest.approx(expected, nan_ok=True)
