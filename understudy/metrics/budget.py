"""How the share of queries that asked the cloud kept to its budget.

`rates` has shape (steps,): the share of a step's samples that asked, in [0, 1], within one phase.
`budget` is the allowed share in that phase. A step with rate NaN was not measured: it is left out
of means and shares, and it interrupts a run, for nobody knows what happened in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from understudy.metrics.measured import FloatArray, measured, measured_mean, measured_rows

ROUNDING = 1e-6  # a share of 0.3 kept in 32 bits is not over a budget of 0.3


def ask_rate_summary(rates: npt.ArrayLike, budget: float, settle: float = 0.5) -> dict[str, float]:
    """Usage of one phase; the first `settle` of its steps count as finding the budget.

    mean, std            over all steps (std of the steps themselves: divided by n)
    settled_mean         over the steps from floor(settle * steps) on
    deviation            settled_mean - budget
    share_over_budget    share of steps with a rate over the budget
    longest_silent       longest run, in steps, in which nothing asked (rate 0)
    longest_saturated    longest run, in steps, in which everything asked (rate 1)
    """
    if not 0 <= settle < 1:
        raise ValueError(f"settle={settle} is not a share of the steps; give 0 <= settle < 1")
    steps = _steps(rates)
    known = measured(steps)
    settled_mean = measured_mean(steps[int(settle * steps.size) :])
    return {
        "mean": measured_mean(known),
        "std": float(known.std()) if known.size else float("nan"),
        "settled_mean": settled_mean,
        "deviation": settled_mean - budget,
        "share_over_budget": measured_mean(known > budget + ROUNDING),
        "longest_silent": float(_longest_run(steps == 0)),
        "longest_saturated": float(_longest_run(steps == 1)),
    }


def switch_overshoot(rates: npt.ArrayLike, budget: float, steps: int) -> float:
    """max_{t < steps} rates[t] - budget, the rates starting at the switch.

    Negative if the budget was never reached; NaN if none of these steps was measured.
    """
    first = measured(_steps(rates)[:steps])
    return float(first.max()) - budget if first.size else float("nan")


def settling_steps(rates: npt.ArrayLike, budget: float, tolerance: float, window: int) -> float:
    """The least t >= window for which every s >= t has |mean(rates[s-window:s]) - budget| <=
    tolerance, in steps since the phase began; NaN if that never happens.

    A window without one measured step is not evidence of having settled: it counts as outside.
    """
    if window < 1:
        raise ValueError(f"window={window} is no number of steps; use at least 1")
    steps = _steps(rates)
    if steps.size < window:
        return float("nan")
    windows = np.lib.stride_tricks.sliding_window_view(steps, window)
    trailing = np.array([measured_mean(view) for view in windows])
    inside = np.abs(trailing - budget) <= tolerance + ROUNDING
    outside = np.flatnonzero(~inside)
    settled_from = int(outside[-1]) + 1 if outside.size else 0
    return float(settled_from + window) if settled_from < inside.size else float("nan")


def ask_difficulty_correlation(asked: npt.ArrayLike, difficulty: npt.ArrayLike) -> float:
    """Pearson's correlation in [-1, 1] of asking (0 or 1) with difficulty, both (queries,).

    Queries with a NaN in either are left out; NaN when either is constant over the rest.
    """
    x, y = measured_rows(asked, difficulty)
    if not x.size or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def _steps(rates: npt.ArrayLike) -> FloatArray:
    steps = np.asarray(rates, dtype=np.float64)
    if steps.ndim != 1:
        raise ValueError(f"rates have shape {steps.shape}; give one rate per step")
    return steps


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    """The largest number of neighbouring True: the widest gap between two False, less one."""
    breaks = np.flatnonzero(~np.concatenate(([False], flags, [False])))
    return int(np.diff(breaks).max()) - 1
