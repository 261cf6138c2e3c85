"""What agents gained from each other, how fast, and for how much (arXiv:2405.17466)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from understudy.metrics.measured import measured_mean, measured_rows


def learning_speed(epochs: npt.ArrayLike, curve: npt.ArrayLike) -> float:
    """The mean height of a learning curve: its area by the trapezium rule over its width.

    epochs, curve: (n,), increasing epochs, n at least 2. A curve that is right from the beginning
    has its final value; one that rises late has less.
    """
    x, y = measured_rows(epochs, curve)
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise ValueError(f"epochs={x.tolist()}: a curve needs at least two increasing epochs")
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def mean_learning_speed(epochs: npt.ArrayLike, curves: npt.ArrayLike, first: int = 4) -> float:
    """Learning speed of the mean curve within a task, over the tasks from `first` on.

    curves: (tasks, n), each the mean accuracy over the tasks seen so far at the epochs of that
    task; counted from 0, so that first=4 leaves out four tasks trained jointly.
    """
    table = np.asarray(curves, dtype=np.float64)
    return measured_mean([learning_speed(epochs, curve) for curve in table[first:]])


def relative_gain(accuracy: npt.ArrayLike, base: npt.ArrayLike) -> float:
    """Mean over pairs of 100 * (accuracy - base) / base: what sharing added, in percent."""
    found, alone = measured_rows(np.atleast_1d(accuracy), np.atleast_1d(base))
    return measured_mean(100 * (found - alone) / alone)


def gain_per_log_cost(costs: npt.ArrayLike, gains: npt.ArrayLike) -> tuple[float, float]:
    """(slope, intercept) of the least-squares line of gain on ln(cost).

    costs, gains: (n,), costs above 0, at least two of them different. The slope is the gain
    added when the cost is multiplied by e.
    """
    cost, gain = measured_rows(costs, gains)
    if (cost <= 0).any() or len(np.unique(cost)) < 2:
        raise ValueError(f"costs={cost.tolist()}: a line needs two different costs above 0")
    slope, intercept = np.polyfit(np.log(cost), gain, 1)
    return float(slope), float(intercept)


def slope_error(costs: npt.ArrayLike, errors: npt.ArrayLike) -> float:
    """Standard error of that slope, where each gain has one of these and they are independent.

    The slope is sum_i w_i gain_i with w_i = (x_i - mean x) / sum_j (x_j - mean x)^2, x = ln(cost).
    """
    cost, error = measured_rows(costs, errors)
    x = np.log(cost) - np.log(cost).mean()
    return float(np.sqrt(((x / (x**2).sum() * error) ** 2).sum()))


def well_spread(costs: npt.ArrayLike, least: int = 3, ratio: float = 1.5) -> bool:
    """Whether a line over ln(cost) has something to rest on: so many costs, each at least `ratio`
    times the one before; those in between are passed over.

    >>> well_spread([100, 102]), well_spread([100, 102, 150, 225])
    (False, True)
    """
    count, next_cost = 0, 0.0
    for cost in sorted(map(float, np.ravel(costs))):
        if cost > 0 and cost >= next_cost:
            count, next_cost = count + 1, ratio * cost
    return count >= least


def value_of_information(costs: npt.ArrayLike, gains: npt.ArrayLike) -> float:
    """Mean of gain / cost: percent gained per float sent."""
    cost, gain = measured_rows(costs, gains)
    return measured_mean(gain / cost)
