"""How a stream of tasks was learnt and kept, from the matrix R of test results.

R has shape (T, T): R[i, j] is the result on task j after phase i, and phase j trains task j. A
stream that comes back to a task repeats its column. b has shape (T,): the results before any
training. Results are shares in [0, 1] (or any one unit; every metric here is in that unit).

The formulas count phases and tasks from 1. A term that needs a value not measured (NaN) is left
out of its mean, a maximum looks at what was measured, and a mean without terms is NaN. So in a
stream of one phase everything that compares phases is NaN.

Whether the model is told the task at test time changes what these numbers mean: say so beside
them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from understudy.metrics.measured import FloatArray, measured_mean


def average_accuracy(results: npt.ArrayLike) -> float:
    """ACC = mean_j R[T, j]: all tasks, at the end of the stream."""
    return measured_mean(_square(results)[-1])


def learning_accuracy(results: npt.ArrayLike) -> float:
    """mean_j R[j, j]: each task just after its own phase."""
    return measured_mean(np.diag(_square(results)))


def during_task(results: npt.ArrayLike) -> float:
    """mean_j R[j, j]: the current task at its end, the companion of `post_switch`."""
    return learning_accuracy(results)


def post_switch(results: npt.ArrayLike) -> float:
    """mean over all i > j of R[i, j]: earlier tasks after every later switch."""
    matrix = _square(results)
    return measured_mean(matrix[np.tril_indices(len(matrix), k=-1)])


def backward_transfer(results: npt.ArrayLike) -> float:
    """BWT = mean_{j<T} (R[T, j] - R[j, j]): negative where later phases did harm."""
    return measured_mean(-_losses_since_learnt(results)[:-1])


def backward_transfer_over_tasks(results: npt.ArrayLike) -> float:
    """BWT as others divide it, by T and not T - 1: the last task counts with its zero."""
    losses = _losses_since_learnt(results)
    return measured_mean(-losses) if len(losses) > 1 else float("nan")


def forward_transfer(results: npt.ArrayLike, before: npt.ArrayLike) -> float:
    """FWT = mean_{j>=2} (R[j-1, j] - b_j): what earlier phases gave a task not yet trained."""
    matrix = _square(results)
    baseline = np.asarray(before, dtype=np.float64)
    if baseline.shape != matrix.shape[1:]:
        raise ValueError(f"results before training have shape {baseline.shape}, not one per task")
    return measured_mean(np.diag(matrix, k=1) - baseline[1:])


def forgetting(results: npt.ArrayLike) -> float:
    """mean_{j<T} (max_{j<=i<=T-1} R[i, j] - R[T, j]): the fall from the best earlier result.

    Negative where a task ended better than it ever was.
    """
    return measured_mean(_losses_since_best(results, through_last=False)[:-1])


def forgetting_over_tasks(results: npt.ArrayLike) -> float:
    """Forgetting as others divide it, by T and not T - 1: the last task counts with its zero."""
    losses = _losses_since_best(results, through_last=False)
    return measured_mean(losses) if len(losses) > 1 else float("nan")


def forgetting_avalanche(results: npt.ArrayLike) -> float:
    """mean_{j<T} (R[j, j] - R[T, j]): first minus last, as Avalanche has it; equals -BWT."""
    return measured_mean(_losses_since_learnt(results)[:-1])


def forgetting_mammoth(results: npt.ArrayLike) -> float:
    """mean_{j<T} (max_{j<=i<=T} R[i, j] - R[T, j]): Mammoth's, never negative."""
    return measured_mean(_losses_since_best(results, through_last=True)[:-1])


def continual_summary(results: npt.ArrayLike, before: npt.ArrayLike) -> dict[str, float]:
    """Every metric of this module under its function's name."""
    metrics = (
        average_accuracy,
        learning_accuracy,
        during_task,
        post_switch,
        backward_transfer,
        backward_transfer_over_tasks,
        forgetting,
        forgetting_over_tasks,
        forgetting_avalanche,
        forgetting_mammoth,
    )
    summary = {metric.__name__: metric(results) for metric in metrics}
    return summary | {"forward_transfer": forward_transfer(results, before)}


def _square(results: npt.ArrayLike) -> FloatArray:
    matrix = np.asarray(results, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"results have shape {matrix.shape}; give one row per phase and, in the same order, "
            "one column per phase's task (repeat the column of a task that comes back)"
        )
    return matrix


def _losses_since_learnt(results: npt.ArrayLike) -> FloatArray:
    """(T,): R[j, j] - R[T, j]; the last is zero."""
    matrix = _square(results)
    return np.asarray(np.diag(matrix) - matrix[-1], dtype=np.float64)


def _losses_since_best(results: npt.ArrayLike, through_last: bool) -> FloatArray:
    """(T,): the largest measured R[i, j] with i >= j, less R[T, j]; the last is zero."""
    matrix = _square(results)
    since_learnt = np.where(np.tri(len(matrix), dtype=bool), matrix, np.nan)
    if not through_last:
        since_learnt[-1, :-1] = np.nan
    # fmax passes over NaN without the warning of nanmax on a column that has nothing else.
    return np.asarray(np.fmax.reduce(since_learnt, axis=0) - matrix[-1], dtype=np.float64)
