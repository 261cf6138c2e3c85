"""Uncertainty of results, against figures done by hand and the defining equation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import metrics


def test_wilson_by_hand() -> None:
    # 5 of 10, z = 2: (0.5 + 0.2 -+ 2 * sqrt(0.025 + 0.01)) / 1.4 = 0.5 -+ 0.26726.
    low, high = metrics.wilson_interval(5, 10, z=2)
    assert (low, high) == pytest.approx((0.23274, 0.76726), abs=1e-5)


def test_wilson_at_the_ends() -> None:
    # All of n right: low = n / (n + z^2) = 10 / 14.
    assert metrics.wilson_interval(10, 10, z=2) == pytest.approx((10 / 14, 1))
    assert metrics.wilson_interval(0, 10, z=2) == pytest.approx((0, 4 / 14))
    assert metrics.wilson_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="successes=3"):
        metrics.wilson_interval(3, 2)


@given(st.integers(1, 2000), st.data())
def test_wilson_ends_lie_z_standard_errors_from_the_share(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = metrics.wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    for end in (low, high):
        squared_error = 1.96**2 * end * (1 - end) / n
        assert (successes / n - end) ** 2 == pytest.approx(squared_error, abs=1e-12)


def test_mean_and_spread_by_hand() -> None:
    # Deviations -1, 0, 1: variance 2 / (3 - 1) = 1.
    assert metrics.mean_and_spread([1, 2, 3]) == (2, 1, 3)
    assert metrics.mean_and_spread([1, math.nan, 2, 3]) == (2, 1, 3)
    assert metrics.mean_and_spread([5]) == pytest.approx((5, math.nan, 1), nan_ok=True)
    assert metrics.mean_and_spread([]) == pytest.approx((math.nan, math.nan, 0), nan_ok=True)


def test_paired_difference_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3).
    assert metrics.paired_difference([2, 4, 6], [1, 2, 3]) == pytest.approx((2, 3**-0.5))
    with_gap = metrics.paired_difference([2, 4, 6, math.nan], [1, 2, 3, 9])
    assert with_gap == pytest.approx((2, 3**-0.5))
    assert metrics.paired_difference([2], [1]) == pytest.approx((1, math.nan), nan_ok=True)
    with pytest.raises(ValueError, match="of one length"):
        metrics.paired_difference([1, 2], [1])
