"""The figures of a finished run, from its metrics lines and its matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from understudy.clouds import MeteredCloud
from understudy.link import Spend
from understudy.metrics import ask_rate_summary, continual_summary, switch_overshoot

_SWITCH_STEPS = 10


def summarise(
    lines: list[dict[str, Any]],
    matrix: list[dict[str, Any]],
    cloud: MeteredCloud,
    examiner: MeteredCloud,
) -> dict[str, Any]:
    """Continual metrics of both accuracies, asking per phase, and the bill.

    The matrix has a row before training and one after each phase. What is undefined, such as
    the forgetting of a stream with one phase, is null.
    """
    summary: dict[str, Any] = {
        which: continual_summary(*_accuracies(matrix, which))
        for which in ("local", "system", "calibrated_system")
    }
    phases = sorted({line["phase"] for line in lines})
    summary["phases"] = [_phase_summary(lines, matrix, phase) for phase in phases]
    summary["steps"] = len(lines)
    correlations = [line["cloud/ask_level_correlation"] for line in lines]
    known = [value for value in correlations if value is not None]
    summary["ask_level_correlation"] = float(np.mean(known)) if known else None
    summary["spend"] = _bill(cloud.spend)
    summary["evaluation_spend"] = _bill(examiner.spend)
    finite: dict[str, Any] = _without_nan(summary)
    return finite


def _accuracies(matrix: list[dict[str, Any]], which: str) -> tuple[Any, Any]:
    rows = [[cell[which] for cell in row["tasks"]] for row in matrix]
    return np.array(rows[1:]), np.array(rows[0])


def _phase_summary(
    lines: list[dict[str, Any]], matrix: list[dict[str, Any]], phase: int
) -> dict[str, Any]:
    own = [line for line in lines if line["phase"] == phase]
    rates = np.array([line["cloud/ask_rate"] for line in own])
    budget = own[0]["cloud/budget"]
    cell = matrix[phase]["tasks"][phase - 1]
    served = ("local", "system", "ask_rate", "own_ask_rate", "calibrated_ask_rate", "cloud")
    return {
        "phase": phase,
        "task": own[0]["task"],
        "budget": budget,
        "training": ask_rate_summary(rates, budget)
        | {"switch_overshoot": switch_overshoot(rates, budget, _SWITCH_STEPS)},
        "evaluation": {key: cell[key] for key in served},
        "training_system_accuracy": float(np.mean([line["system_accuracy"] for line in own])),
    }


def _bill(spend: Spend) -> dict[str, Any]:
    return {
        "calls": spend.calls,
        "failed_calls": spend.failed_calls,
        "cache_hits": spend.cache_hits,
        "tokens": spend.prompt_tokens + spend.completion_tokens,
        "dollars": spend.dollars,
        "seconds": spend.seconds,
    }


def _without_nan(value: Any) -> Any:
    """The same structure with null for NaN: JSON has none."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value
