"""An examination by hand: who is asked under each way of serving, and what that gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.offload.runs import Lines, config_of, trajectory
from understudy.clouds import MeteredCloud
from understudy.offload.examination import (
    Calibration,
    Exam,
    Examiner,
    calibrate,
    examine,
    grade,
    pooled,
)
from understudy.offload.loop import evaluate
from understudy.offload.start import start
from understudy.recipes import build_method
from understudy.tasks.stream import load_stream

# Five questions; the local model is right on the first, third and fifth.
LOCAL = np.array([True, False, True, False, True])
CLOUD = np.array([True, True, False, True, True])
MARGIN = np.array([-2.0, 1.0, 3.0, -0.5, -4.0])
EXAM = Exam(LOCAL, CLOUD, MARGIN)


@pytest.mark.parametrize(
    ("serving", "shift", "budget", "rate", "system"),
    [
        ("own", 0.0, 0.2, 0.4, 3 / 5),  # the second gains, the third loses
        ("own", 1.0, 0.2, 0.6, 4 / 5),  # a shift of 1 lets the fourth ask
        ("own", float("-inf"), 0.2, 0.0, 3 / 5),
        ("own", 0.0, 0.0, 0.0, 3 / 5),  # no budget, no asking
        ("capped", 0.0, 0.2, 0.2, 4 / 5),  # only the first to want it
        ("capped", 0.0, 0.0, 0.0, 3 / 5),
        ("capped", 0.0, 1.0, 0.4, 3 / 5),
        ("calibrated", 0.0, 0.2, 0.2, 2 / 5),  # above 2: the third alone
        ("random", 0.0, 0.5, 0.5, 0.7),  # half way from 3/5 to 4/5
    ],
)
def test_each_way_of_serving(
    serving: str, shift: float, budget: float, rate: float, system: float
) -> None:
    cell = grade(EXAM, serving, shift, 2.0, budget)  # type: ignore[arg-type]
    assert (cell["local"], cell["cloud"]) == pytest.approx((3 / 5, 4 / 5))
    assert (cell["ask_rate"], cell["system"]) == pytest.approx((rate, system))
    assert (cell["calibrated_ask_rate"], cell["calibrated_system"]) == pytest.approx((0.2, 0.4))
    assert cell["curve"][0] == pytest.approx(3 / 5)
    assert cell["curve"][2] == pytest.approx(2 / 5)
    assert cell["curve"][10] == pytest.approx(4 / 5)


def test_a_cap_admits_all_that_it_allows() -> None:
    everyone = Exam(np.zeros(100, bool), np.ones(100, bool), np.ones(100))
    for percent in range(101):
        cell = grade(everyone, "capped", 0.0, 0.0, percent / 100)
        assert cell["ask_rate"] == pytest.approx(percent / 100)


@pytest.mark.parametrize(
    ("budget", "spare", "share"),
    [(0.3, False, 0.3), (0.3, True, 0.3), (0.8, False, 0.8), (0.8, True, 0.4), (0.05, True, 0.05)],
)
def test_a_threshold_uses_its_share_and_no_more(budget: float, spare: bool, share: float) -> None:
    margin = np.random.default_rng(0).normal(size=10_000)
    calibration = Calibration(np.arange(10_000) % 5 < 3, margin)  # two in five fail
    asked = float((margin > calibration.threshold(budget, spare)).mean())
    # A standard error of the share may be kept in hand.
    assert share - 0.0051 <= asked <= share


@pytest.mark.parametrize(("budget", "threshold"), [(0.0, 1e4), (1.0, -1e4)])
def test_a_budget_of_nothing_or_of_everything_holds_for_any_question(
    budget: float, threshold: float
) -> None:
    assert Calibration(LOCAL, MARGIN).threshold(budget, False) == threshold


def test_a_model_that_fails_nowhere_spares_every_call() -> None:
    assert Calibration(np.ones(5, bool), MARGIN).threshold(1.0, True) == 1e4


def test_tasks_are_pooled_question_by_question() -> None:
    margin = np.random.default_rng(0).normal(size=5_000)
    right = np.zeros(5_000, bool)
    both = pooled([Calibration(right, margin), Calibration(~right, margin + 100)])
    assert both.right.mean() == pytest.approx(0.5)
    threshold = both.threshold(0.3, False)
    assert threshold > 90  # the second task wants to ask most
    assert (both.margin > threshold).mean() == pytest.approx(0.3, abs=0.006)


def test_thresholds_are_fitted_to_validation_questions_of_the_tasks_met(model: Path) -> None:
    settings: dict[str, Any] = {"calibration_queries": 64, "eval_queries": 64, "seed": 3}
    config = config_of("understudy", model, **settings)
    recipe, stream = build_method(config), load_stream(config.stream)
    state = start(config, recipe)
    for after in (0, 1, 2):
        evaluate(state, recipe, stream, config, Lines(), after)
    examiner, longest = state.examination(config), config.max_completion_length
    exams = [state.tasks.exam(phase, 64, "validation", "3") for phase in stream]
    fitted = [calibrate(state.policy, examiner, exam, longest) for exam in exams]
    thresholds = [calibration.threshold(config.budget, True) for calibration in fitted]
    both = pooled(fitted).threshold(config.budget, True)
    assert len({*thresholds, both}) == 3
    assert [row["threshold"] for row in state.matrix] == [both, thresholds[0], both]
    for row in state.matrix:
        assert [cell["threshold"] for cell in row["tasks"]] == thresholds


def test_what_is_asked_does_not_depend_on_the_order_of_the_questions(model: Path) -> None:
    config = config_of("dagrpo", model)
    state = start(config, build_method(config))
    phases = load_stream(config.stream)
    problems = [q for phase in phases for q in state.tasks.exam(phase, 12, "test", "k")]
    forward, backward = (
        examine(state.policy, Examiner(state.tasks, MeteredCloud(state.cloud.cloud)), asked, 8)
        for asked in (problems, problems[::-1])
    )
    assert np.array_equal(forward.local_right, backward.local_right[::-1])
    assert np.array_equal(forward.cloud_right, backward.cloud_right[::-1])
    assert forward.margin == pytest.approx(backward.margin[::-1], abs=1e-4)


def test_a_row_per_phase_and_a_cell_per_task(model: Path) -> None:
    stream = [
        {"families": "facts", "levels": [1, 1], "steps": 1},
        {"families": "strings", "levels": [1, 2], "steps": 2, "budget": 0.5},
        {"families": "facts", "levels": [1, 1], "steps": 1},
    ]
    lines, state = trajectory(config_of("dagrpo", model, stream=stream))
    assert [(row["after_phase"], row["step"]) for row in lines.rows] == [
        (0, 0),
        (1, 1),
        (2, 3),
        (3, 4),
    ]
    assert lines.rows == state.matrix
    assert all(len(row["tasks"]) == 3 for row in lines.rows)
    # A task that comes back is one column twice.
    assert all(row["tasks"][0] == row["tasks"][2] for row in lines.rows)
    # Each question of an examination is paid for once in the whole run: six of two tasks.
    assert state.examiner.spend.calls <= 12
    assert state.examiner.spend.cache_hits >= 3 * state.examiner.spend.calls
