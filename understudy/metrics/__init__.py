"""Metrics: pure functions over numpy arrays, in which NaN means "not measured"."""

from __future__ import annotations

from understudy.metrics.budget import (
    ask_difficulty_correlation,
    ask_rate_summary,
    settling_steps,
    switch_overshoot,
)
from understudy.metrics.continual import (
    average_accuracy,
    backward_transfer,
    backward_transfer_over_tasks,
    continual_summary,
    during_task,
    forgetting,
    forgetting_avalanche,
    forgetting_mammoth,
    forgetting_over_tasks,
    forward_transfer,
    learning_accuracy,
    post_switch,
)
from understudy.metrics.evaluation import mean_and_spread, paired_difference, wilson_interval
from understudy.metrics.labels import constant_accuracy, macro_f1
from understudy.metrics.routing import (
    aiq,
    apgr,
    cpt,
    deferral_curve,
    oracle_curve,
    performance_gap_recovered,
    random_offloading,
    served,
)
from understudy.metrics.sharing import (
    gain_per_log_cost,
    learning_speed,
    mean_learning_speed,
    relative_gain,
    slope_error,
    value_of_information,
    well_spread,
)
from understudy.metrics.summary import (
    Quality,
    SummaryHead,
    quality_over_questions,
    quality_over_repeats,
)
from understudy.metrics.users import deciles, user_summary

__all__ = [
    "Quality",
    "SummaryHead",
    "aiq",
    "apgr",
    "ask_difficulty_correlation",
    "ask_rate_summary",
    "average_accuracy",
    "backward_transfer",
    "backward_transfer_over_tasks",
    "constant_accuracy",
    "continual_summary",
    "cpt",
    "deciles",
    "deferral_curve",
    "during_task",
    "forgetting",
    "forgetting_avalanche",
    "forgetting_mammoth",
    "forgetting_over_tasks",
    "forward_transfer",
    "gain_per_log_cost",
    "learning_accuracy",
    "learning_speed",
    "macro_f1",
    "mean_and_spread",
    "mean_learning_speed",
    "oracle_curve",
    "paired_difference",
    "performance_gap_recovered",
    "post_switch",
    "quality_over_questions",
    "quality_over_repeats",
    "random_offloading",
    "relative_gain",
    "served",
    "settling_steps",
    "slope_error",
    "switch_overshoot",
    "user_summary",
    "value_of_information",
    "well_spread",
    "wilson_interval",
]
