"""Metrics of steps, with invented figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from understudy.offload.steps import StepMetrics

_QUIET = StepMetrics(
    step=1,
    phase=1,
    task="sums",
    reward=0.5,
    reward_std=0.1,
    valid=1.0,
    undecided=0,
    frac_reward_zero_std=0.0,
    local_accuracy=0.5,
    system_accuracy=0.75,
    ask_rate=0.25,
    expected_ask_rate=0.25,
    budget=0.3,
    price=0.5,
    shift=None,
    all_ask_groups=0.0,
    no_ask_groups=0.0,
    ask_level_correlation=None,
    calls=0,
    failed_calls=0,
    cache_hits=0,
    tokens=0,
    dollars=0.0,
    formed=1.0,
    mean_length=4.0,
    clipped_ratio=0.0,
    entropy=1.0,
    num_tokens=64,
    rewards={},
    dual={},
    learnt={"loss": 0.0, "grad_norm": 0.0},
)


def quiet_step(**changes: Any) -> StepMetrics:
    """A step that gives no warning, but for what is changed."""
    return replace(_QUIET, **changes)
