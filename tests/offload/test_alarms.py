"""A warning is given once per phase, after the window; the same lines give the same warnings."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.offload.alarms import ALARMS, NOBODY_ASKS, Alarms

QUIET: dict[str, Any] = {
    "task": "sums",
    "cloud/budget": 0.3,
    "completions/clipped_ratio": 0.0,
    "frac_reward_zero_std": 0.0,
    "cloud/all_ask_groups": 0.0,
    "cloud/no_ask_groups": 0.0,
    "rewards/valid": 1.0,
}
LOUD = {
    "completions/clipped_ratio": 0.9,
    "frac_reward_zero_std": 1.0,
    "cloud/all_ask_groups": 1.0,
    "cloud/no_ask_groups": 1.0,
    "rewards/valid": 0.0,
}


def warnings(lines: list[dict[str, Any]], asks: bool = True) -> list[str]:
    alarms = Alarms(asks)
    return [text for line in lines for text in alarms.after_step(line)]


def lines(count: int, phase: int = 1, first: int = 1, **changes: Any) -> list[dict[str, Any]]:
    loud = {key.replace("__", "/"): value for key, value in changes.items()}
    steps = range(first, first + count)
    return [QUIET | {"step": step, "phase": phase} | loud for step in steps]


def test_a_quiet_run_says_nothing() -> None:
    assert warnings(lines(30)) == []


def test_every_alarm_has_a_condition_tested_here() -> None:
    assert {alarm.metric for alarm in (*ALARMS, NOBODY_ASKS)} == LOUD.keys()


@pytest.mark.parametrize("metric", LOUD)
def test_each_warns_at_the_end_of_the_window_and_once_per_phase(metric: str) -> None:
    loud = {metric.replace("/", "__"): LOUD[metric]}
    assert warnings(lines(4, **loud)) == []
    (text,) = warnings(lines(30, **loud))
    assert text.startswith("step 5, phase 1 (sums): ")
    again = warnings(lines(30, **loud) + lines(30, phase=2, first=31, **loud))
    assert [line.partition(":")[0] for line in again] == [
        "step 5, phase 1 (sums)",
        "step 35, phase 2 (sums)",
    ]


def test_one_odd_batch_is_no_alarm() -> None:
    odd = lines(1, completions__clipped_ratio=1.0)
    assert warnings(lines(4) + odd + lines(10)) == []


def test_a_window_does_not_reach_over_a_switch() -> None:
    loud: dict[str, Any] = {"frac_reward_zero_std": 1.0}
    assert warnings(lines(4, **loud) + lines(4, phase=2, **loud)) == []


def test_not_asking_is_a_fault_only_where_asking_is_allowed_and_possible() -> None:
    silent = lines(9, cloud__no_ask_groups=1.0)
    assert len(warnings(silent)) == 1
    assert "0.30" in warnings(silent)[0]
    assert warnings(silent, asks=False) == []
    assert warnings(lines(9, cloud__no_ask_groups=1.0, cloud__budget=0.0)) == []


def test_the_same_lines_give_the_same_words() -> None:
    story = lines(7) + lines(9, rewards__valid=0.0) + lines(9, phase=2, cloud__all_ask_groups=1.0)
    assert warnings(story) == warnings(story)
    assert len(warnings(story)) == 2


def test_failed_calls_are_no_reason_to_draw_more_responses() -> None:
    def failing(share: float) -> list[str]:
        steps = lines(10, frac_reward_zero_std=1.0)
        totals = (
            {"cloud/calls": 8 * i, "cloud/failed_calls": round(8 * share) * i} for i in range(10)
        )
        return warnings([line | total for line, total in zip(steps, totals, strict=True)])

    assert any("num_generations" in text for text in failing(0.0))
    assert failing(0.5) == failing(1.0) == []
