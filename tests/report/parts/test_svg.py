"""The small mathematics of the plots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.report.parts.svg import short, smoothed, spread


def test_labels_that_touch_are_moved_apart_by_hand() -> None:
    assert spread([0.2, 0.25, 0.9], 0.1, 0.0, 1.0) == pytest.approx([0.2, 0.3, 0.9])
    assert spread([0.95, 0.97], 0.1, 0.0, 1.0) == pytest.approx([0.9, 1.0])
    assert spread([], 0.1, 0.0, 1.0) == []


@given(st.lists(st.floats(0, 1), max_size=9))
def test_labels_keep_their_order_and_their_distance(values: list[float]) -> None:
    places = spread(sorted(values), 0.1, 0.0, 1.0)
    assert all(np.diff(places) >= 0.1 - 1e-9)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)


def test_smoothing_stays_within_a_phase_and_passes_over_what_is_missing() -> None:
    values = np.array([1.0, np.nan, 3.0, 10.0, 20.0])
    phases = np.array([1.0, 1.0, 1.0, 2.0, 2.0])
    assert smoothed(values, phases, 3) == pytest.approx([1.0, 2.0, 3.0, 15.0, 15.0])
    assert np.isnan(smoothed(np.array([np.nan]), np.array([1.0]), 3)).all()


def test_long_names_are_cut() -> None:
    assert short("sums", 4) == "sums"
    assert short("calendar", 4) == "cal…"
