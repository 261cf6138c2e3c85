"""Continual metrics: one matrix done on paper, limits, and loops on random matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from understudy import metrics

# Phase by phase, three tasks:
#            task 1  task 2  task 3
# before       0.1     0.2     0.3
# phase 1      0.6     0.3     0.2
# phase 2      0.7     0.8     0.4
# phase 3      0.5     0.9     0.7
BEFORE = [0.1, 0.2, 0.3]
RESULTS = [[0.6, 0.3, 0.2], [0.7, 0.8, 0.4], [0.5, 0.9, 0.7]]

BY_HAND = {
    "average_accuracy": 0.7,  # (0.5 + 0.9 + 0.7) / 3
    "learning_accuracy": 0.7,  # (0.6 + 0.8 + 0.7) / 3
    "during_task": 0.7,
    "post_switch": 0.7,  # (0.7 + 0.5 + 0.9) / 3
    "backward_transfer": 0.0,  # ((0.5 - 0.6) + (0.9 - 0.8)) / 2
    "backward_transfer_over_tasks": 0.0,  # the same sum / 3
    "forward_transfer": 0.1,  # ((0.3 - 0.2) + (0.4 - 0.3)) / 2
    "forgetting": 0.05,  # ((0.7 - 0.5) + (0.8 - 0.9)) / 2
    "forgetting_over_tasks": 0.1 / 3,  # the same sum / 3
    "forgetting_avalanche": 0.0,  # ((0.6 - 0.5) + (0.8 - 0.9)) / 2
    "forgetting_mammoth": 0.1,  # ((0.7 - 0.5) + (0.9 - 0.9)) / 2
}


def test_summary_matches_the_case_worked_by_hand() -> None:
    assert metrics.continual_summary(RESULTS, BEFORE) == pytest.approx(BY_HAND)


def test_dividing_by_all_tasks_scales_by_two_thirds() -> None:
    # Task 2 now ends at 0.6: BWT = ((0.5 - 0.6) + (0.6 - 0.8)) / 2 = -0.15, over 3 tasks -0.1.
    results = [RESULTS[0], RESULTS[1], [0.5, 0.6, 0.7]]
    assert metrics.backward_transfer(results) == pytest.approx(-0.15)
    assert metrics.backward_transfer_over_tasks(results) == pytest.approx(-0.1)


def test_one_phase_has_no_comparisons() -> None:
    summary = metrics.continual_summary([[0.4]], [0.1])
    known = {"average_accuracy", "learning_accuracy", "during_task"}
    assert {name for name, value in summary.items() if not math.isnan(value)} == known
    assert all(summary[name] == 0.4 for name in known)


def test_what_was_not_measured_is_left_out() -> None:
    nan = math.nan
    # Nobody tested tasks before their phase, nor task 1 after phase 2.
    results = [[0.6, nan, nan], [nan, 0.8, nan], [0.5, 0.9, 0.7]]
    summary = metrics.continual_summary(results, BEFORE)
    assert math.isnan(summary["forward_transfer"])
    assert summary["post_switch"] == pytest.approx(0.7)  # (0.5 + 0.9) / 2
    assert summary["forgetting"] == pytest.approx(0.0)  # ((0.6 - 0.5) + (0.8 - 0.9)) / 2
    # Task 2 untested at the end: one term of BWT is left, 0.5 - 0.6.
    results[2][1] = nan
    assert metrics.backward_transfer(results) == pytest.approx(-0.1)
    assert metrics.average_accuracy(results) == pytest.approx(0.6)  # (0.5 + 0.7) / 2


def test_nothing_measured_is_nan_without_a_warning() -> None:
    summary = metrics.continual_summary(np.full((3, 3), math.nan), [math.nan] * 3)
    assert all(math.isnan(value) for value in summary.values())


def test_the_last_result_takes_no_part_in_our_maximum() -> None:
    # Task 1 rises to the end: forgetting 0.2 - 0.9 = -0.7 says so, Mammoth's hides it.
    results = [[0.2, 0.0], [0.9, 0.5]]
    assert metrics.forgetting(results) == pytest.approx(-0.7)
    assert metrics.forgetting_mammoth(results) == 0.0


@pytest.mark.parametrize("shape", [(2, 3), (3,), (0, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one row per phase"):
        metrics.average_accuracy(np.zeros(shape))


def test_forward_transfer_wants_one_baseline_per_task() -> None:
    with pytest.raises(ValueError, match="one per task"):
        metrics.forward_transfer(RESULTS, [0.1])


def mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def best(values: list[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def by_loops(r: np.ndarray, b: np.ndarray) -> dict[str, float]:
    last = len(r) - 1
    earlier, tasks = range(last), range(last + 1)
    ours = [best([r[i, j] for i in range(j, last)]) - r[last, j] for j in earlier]
    through_last = [best([r[i, j] for i in range(j, last + 1)]) - r[last, j] for j in earlier]
    change = [r[last, j] - r[j, j] for j in earlier]
    own = r[last, last] - r[last, last]
    return {
        "average_accuracy": mean([r[last, j] for j in tasks]),
        "learning_accuracy": mean([r[j, j] for j in tasks]),
        "during_task": mean([r[j, j] for j in tasks]),
        "post_switch": mean([r[i, j] for i in tasks for j in range(i)]),
        "backward_transfer": mean(change),
        "backward_transfer_over_tasks": mean([*change, own]) if last else math.nan,
        "forward_transfer": mean([r[j - 1, j] - b[j] for j in range(1, last + 1)]),
        "forgetting": mean(ours),
        "forgetting_over_tasks": mean([*ours, own]) if last else math.nan,
        "forgetting_avalanche": mean([-value for value in change]),
        "forgetting_mammoth": mean(through_last),
    }


share = st.floats(0, 1) | st.just(math.nan)


@given(st.data(), st.integers(1, 5))
def test_summary_matches_plain_loops(data: st.DataObject, phases: int) -> None:
    results = data.draw(arrays(np.float64, (phases, phases), elements=share))
    before = data.draw(arrays(np.float64, phases, elements=share))
    summary = metrics.continual_summary(results, before)
    assert summary == pytest.approx(by_loops(results, before), abs=1e-12, nan_ok=True)
