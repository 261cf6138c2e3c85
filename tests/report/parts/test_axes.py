"""The small mathematics of the plots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.report.parts.axes import log_ticks, short, smoothed, spread
from understudy.report.parts.colours import colour_of
from understudy.report.parts.layout import NARROW, WIDE, for_both, layout


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


@given(st.floats(0.01, 1e9), st.floats(1.05, 1e6))
def test_an_axis_of_logarithms_has_a_few_numbers_on_it(low: float, times: float) -> None:
    ticks = log_ticks(low, low * times)
    assert 2 <= len(ticks) <= 10
    assert all(low * (1 - 1e-9) <= tick <= low * times * (1 + 1e-9) for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_numbers_of_an_axis_by_hand() -> None:
    assert log_ticks(5, 2000) == [10, 100, 1000]
    assert log_ticks(3, 30) == [5, 10, 20]
    assert log_ticks(90, 120) == [90, 100, 110, 120]


def test_every_variant_has_its_own_colour() -> None:
    found = [colour_of(place) for place in range(50)]
    assert len(set(found)) == 50
    assert all(len(colour) == 7 for colour in found)


def test_a_plot_is_drawn_for_a_wide_page_and_for_a_narrow_one() -> None:
    text = for_both(lambda name: f"{name} {layout().width:g}", "a")
    assert text == '<div class="wide">a 10</div><div class="narrow">a 4.2</div>'
    assert layout() is WIDE
    assert NARROW.is_narrow
