"""A warning is given once per phase, after the window; the same steps give the same warnings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.offload.steps import quiet_step
from understudy.offload.alarms import ALARMS, NOBODY_ASKS, Alarms
from understudy.offload.steps import StepMetrics

LOUD = {
    "clipped_ratio": 0.3,
    "formed": 0.01,
    "frac_reward_zero_std": 1.0,
    "all_ask_groups": 1.0,
    "no_ask_groups": 1.0,
    "valid": 0.0,
}


def warnings(taken: list[StepMetrics], asks: bool = True) -> list[str]:
    alarms = Alarms(asks)
    return [text for step in taken for text in alarms.after_step(step)]


def steps(count: int, phase: int = 1, first: int = 1, **changes: Any) -> list[StepMetrics]:
    numbers = range(first, first + count)
    return [quiet_step(step=number, phase=phase, **changes) for number in numbers]


def test_a_quiet_run_says_nothing() -> None:
    assert warnings(steps(30)) == []


def test_every_alarm_has_a_condition_tested_here() -> None:
    assert {alarm.metric for alarm in (*ALARMS, NOBODY_ASKS)} == LOUD.keys()


@pytest.mark.parametrize("metric", LOUD)
def test_each_warns_at_the_end_of_the_window_and_once_per_phase(metric: str) -> None:
    loud = {metric: LOUD[metric]}
    assert warnings(steps(4, **loud)) == []
    (text,) = warnings(steps(30, **loud))
    assert text.startswith("step 5, phase 1 (sums): ")
    again = warnings(steps(30, **loud) + steps(30, phase=2, first=31, **loud))
    assert [line.partition(":")[0] for line in again] == [
        "step 5, phase 1 (sums)",
        "step 35, phase 2 (sums)",
    ]


def test_one_odd_batch_is_no_alarm() -> None:
    odd = steps(1, clipped_ratio=1.0)
    assert warnings(steps(4) + odd + steps(10)) == []


def test_a_window_does_not_reach_over_a_switch() -> None:
    loud: dict[str, Any] = {"frac_reward_zero_std": 1.0}
    assert warnings(steps(4, **loud) + steps(4, phase=2, **loud)) == []


def test_not_asking_is_a_fault_only_where_asking_is_allowed_and_possible() -> None:
    silent = steps(9, no_ask_groups=1.0)
    assert len(warnings(silent)) == 1
    assert "0.30" in warnings(silent)[0]
    assert warnings(silent, asks=False) == []
    assert warnings(steps(9, no_ask_groups=1.0, budget=0.0)) == []


def test_what_the_form_is_is_said_and_steps_in_which_all_asked_say_nothing_of_it() -> None:
    alarms = Alarms(True, {"sums": "one label"})
    (text,) = [text for step in steps(9, formed=0.0) for text in alarms.after_step(step)]
    assert "no response has the form of an answer (one label)" in text
    assert "warm_start" in text
    assert warnings(steps(9, formed=None)) == []
    assert len(warnings(steps(4, formed=None) + steps(2, first=5, formed=0.0))) == 1


@pytest.mark.parametrize(("asked", "replies"), [(0, 8), (1, 8), (8, 8)])
def test_a_warm_start_that_showed_nothing_says_it_of_all_replies(asked: int, replies: int) -> None:
    """Those known from before are among them."""
    took: dict[str, float] = {"warm_start/asked": asked, "warm_start/replies": replies}
    took |= {"warm_start/examples": 3, "warm_start/steps": 0}
    (text,) = warnings(steps(1, learnt=took) + steps(9, first=2))
    assert "3 of the cloud's 8 replies were right" in text
    assert warnings(steps(1, learnt=took | {"warm_start/steps": 4})) == []
    assert warnings(steps(1, learnt=took | dict.fromkeys(took, 0))) == []  # it has the form
    old = {key: value for key, value in took.items() if key != "warm_start/replies"}
    assert len(warnings(steps(1, learnt=old))) == (asked > 0)


def test_the_same_steps_give_the_same_words() -> None:
    story = steps(7) + steps(9, valid=0.0) + steps(9, phase=2, all_ask_groups=1.0)
    assert warnings(story) == warnings(story)
    assert len(warnings(story)) == 2


def test_failed_calls_are_no_reason_to_draw_more_responses() -> None:
    def failing(share: float) -> list[str]:
        calls = [(8 * i, round(8 * share) * i) for i in range(10)]
        taken = steps(10, frac_reward_zero_std=1.0)
        return warnings(
            [
                replace(step, calls=called, failed_calls=failed)
                for step, (called, failed) in zip(taken, calls, strict=True)
            ]
        )

    assert any("num_generations" in text for text in failing(0.0))
    assert failing(0.5) == failing(1.0) == []
