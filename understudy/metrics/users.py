"""A population of users, agents or clients: how well it goes for all, and for each."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from understudy.metrics.measured import FloatArray, measured_rows

Weights = Literal["test", "none", "leaf"]


def user_summary(
    scores: npt.ArrayLike,
    test_samples: npt.ArrayLike,
    train_samples: npt.ArrayLike | None = None,
    weights: Weights = "test",
) -> dict[str, float]:
    """mean, std, the worst and best, and the deciles of users' scores.

    weights: "test" weights by test samples, so that the mean is the accuracy of all test samples
    pooled; "none" counts every user once; "leaf" weights by train and test samples together, and
    gives the variance under the name of the standard deviation, as LEAF (arXiv:1812.01097) does:
    for comparison with its figures only. Deciles are of users, unweighted. A user with a NaN
    score is left out.
    """
    train = np.zeros_like(np.asarray(test_samples)) if train_samples is None else train_samples
    if weights == "leaf" and train_samples is None:
        raise ValueError("weights=leaf needs train_samples")
    score, tests, trains = measured_rows(scores, test_samples, train)
    if not score.size or tests.sum() <= 0:
        raise ValueError("no user has a score and a test sample")
    weight = {"test": tests, "none": np.ones_like(score), "leaf": tests + trains}[weights]
    mean = float(np.average(score, weights=weight))
    variance = float(np.average(np.square(score - mean), weights=weight))
    found = {
        "mean": mean,
        "std": variance if weights == "leaf" else float(np.sqrt(variance)),
        "worst": float(score.min()),
        "best": float(score.max()),
    }
    return found | {f"decile_{i + 1}": value for i, value in enumerate(deciles(score).tolist())}


def deciles(scores: npt.ArrayLike) -> FloatArray:
    """(9,): the 10th to the 90th percentile, linear between users."""
    return np.asarray(np.percentile(np.asarray(scores, dtype=float), range(10, 100, 10)))
