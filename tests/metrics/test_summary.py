"""The head of a summary: intervals by hand and in the limits."""

from __future__ import annotations

import json
import math

import pytest

from understudy.metrics import Quality, SummaryHead, quality_over_questions, quality_over_repeats
from understudy.plain import to_plain
from understudy.types import Cost


def test_over_questions_it_is_wilsons_interval() -> None:
    # p = 1/2, n = 96: centre 1/2, reach z / (2 sqrt(n + z^2)).
    found = quality_over_questions(0.5, 96)
    reach = 1.96 / (2 * math.sqrt(96 + 1.96**2))
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5 - reach, 0.5 + reach))
    assert quality_over_questions(1.0, 10).high == 1.0
    assert quality_over_questions(0.5, 0) == Quality(0.5, None, None)
    assert quality_over_questions(math.nan, 5) == Quality(None, None, None)


def test_over_repeats_it_is_the_standard_error() -> None:
    found = quality_over_repeats([0.2, 0.4])  # deviation 0.1 * sqrt(2), error 0.1
    assert (found.mean, found.low, found.high) == pytest.approx((0.3, 0.104, 0.496))
    assert quality_over_repeats([0.7]) == Quality(0.7, None, None)
    assert quality_over_repeats([]) == Quality(None, None, None)


def test_a_head_is_the_same_in_a_file() -> None:
    head = SummaryHead(Quality(0.5, 0.4, 0.6), Cost(calls=3, dollars=0.1), (0.4, None))
    shown = to_plain(head)
    assert list(shown) == ["quality", "cost", "per_user"]
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
