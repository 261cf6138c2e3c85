"""What asking a strong model buys, as a curve of accuracy over the share of queries asked.

Per query, shapes (queries,): `score` (the higher, the sooner it is asked), `local_correct` and
`cloud_correct` (0 or 1, or shares of several samples). A query with a NaN in any of them is left
out. Per curve, shapes (points,): `shares` in [0, 1] and `accuracy`; a point with a NaN is left
out. Accuracies are shares in [0, 1].
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from understudy.metrics.measured import FloatArray, measured_rows

Quantity = TypeVar("Quantity", float, FloatArray)
ROUNDING = 1e-12  # accuracy at share 1 may miss the strong model's in the last bits


def performance_gap_recovered(accuracy: Quantity, weak: float, strong: float) -> Quantity:
    """PGR = (accuracy - weak) / (strong - weak): 0 at the weak model, 1 at the strong one.

    Not confined to [0, 1]: a good choice of whom to ask beats the strong model. NaN without a gap.
    """
    gap = strong - weak
    return (accuracy - weak) / (gap if gap != 0 else float("nan"))


def random_offloading(weak: float, strong: float, share: Quantity) -> Quantity:
    """Expected accuracy when a random `share` of the queries is asked: the line between both."""
    return weak + share * (strong - weak)


def served(
    local_correct: npt.NDArray[np.bool_],
    cloud_correct: npt.NDArray[np.bool_],
    decisions: npt.NDArray[np.bool_] | FloatArray,
) -> tuple[float, float]:
    """(share asked, accuracy) where some queries are asked: yes or no, or each with a chance.

    With chances both are expectations; with one chance for all it is `random_offloading`.
    """
    if decisions.dtype == np.bool_:
        answers = np.where(decisions, cloud_correct, local_correct)
        return float(decisions.mean()), float(answers.mean())
    chance = float(decisions[0])
    if (decisions == chance).all():
        weak, strong = float(local_correct.mean()), float(cloud_correct.mean())
        return chance, random_offloading(weak, strong, chance)
    gain = cloud_correct.astype(np.float64) - local_correct
    return float(decisions.mean()), float((local_correct + decisions * gain).mean())


def deferral_curve(
    score: npt.ArrayLike,
    local_correct: npt.ArrayLike,
    cloud_correct: npt.ArrayLike,
    shares: npt.ArrayLike,
) -> FloatArray:
    """Expected accuracy, (shares,), when the queries of highest score are asked up to each share.

    accuracy(s) = mean(local) + (1/n) * sum of (cloud - local) over the s*n highest scores. Of tied
    queries each is equally likely to be asked, and a fraction of a query is asked with that
    probability, so the curve does not depend on the order of the rows. All local at 0, all cloud
    at 1.
    """
    wanted = np.asarray(shares, dtype=np.float64)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise ValueError(f"shares={wanted} must lie between 0 and 1")
    priority, local, cloud = measured_rows(score, local_correct, cloud_correct)
    if not priority.size:
        return np.full(wanted.shape, np.nan)
    _, level, size = np.unique(-priority, return_inverse=True, return_counts=True)
    # One straight piece per level of score, from the highest on.
    asked = np.concatenate(([0.0], np.cumsum(size))) / priority.size
    gained = np.concatenate(([0.0], np.cumsum(np.bincount(level, cloud - local))))
    curve = local.mean() + np.interp(wanted, asked, gained / priority.size)
    return np.asarray(curve, dtype=np.float64)


def oracle_curve(
    local_correct: npt.ArrayLike, cloud_correct: npt.ArrayLike, shares: npt.ArrayLike
) -> FloatArray:
    """The best deferral curve there is: asks where only the cloud is right first, where only the
    local model is right last."""
    local, cloud = measured_rows(local_correct, cloud_correct)
    return deferral_curve(cloud - local, local, cloud, shares)


def apgr(shares: npt.ArrayLike, accuracy: npt.ArrayLike, weak: float, strong: float) -> float:
    """Integral of PGR over the share of strong calls from 0 to 1, by the trapezium rule.

    Random offloading has 0.5 and the oracle more than 1 (it is not normalised to 1). The points
    must reach from share 0 to share 1; NaN without a gap between the models.
    """
    x, y = _by_share(shares, accuracy)
    if not x.size or x[0] != 0 or x[-1] != 1:
        raise ValueError(f"shares={x} must have measured points at 0 and at 1")
    return _area(x, performance_gap_recovered(y, weak, strong))


def cpt(
    x: float, shares: npt.ArrayLike, accuracy: npt.ArrayLike, weak: float, strong: float
) -> float:
    """CPT(x): the least share of strong calls at which PGR reaches x (0.5 is half the gap).

    Straight lines join the points; NaN if they never reach x.
    """
    share, quality = _by_share(shares, accuracy)
    recovered = performance_gap_recovered(quality, weak, strong)
    reached = np.flatnonzero(recovered >= x - ROUNDING)
    if not reached.size:
        return float("nan")
    first = int(reached[0])
    if first == 0:
        return float(share[0])
    ends = slice(first - 1, first + 1)
    return float(np.interp(x, recovered[ends], share[ends]))


def aiq(cost: npt.ArrayLike, quality: npt.ArrayLike) -> float:
    """Area under the non-decreasing upper convex hull of quality over cost / the range of cost.

    The hull holds what mixtures of the points reach for at most that cost. Both are (points,), in
    any units; the result has quality's. NaN when all points cost the same.
    """
    x, y = measured_rows(cost, quality)
    if not x.size or np.ptp(x) == 0:
        return float("nan")
    points = [*zip(x.tolist(), y.tolist(), strict=True), (float(x.max()), float(y.max()))]
    hull: list[tuple[float, float]] = []
    for point in sorted(points):
        while hull and (hull[-1][0] == point[0] or _below(hull, point)):
            hull.pop()
        hull.append(point)
    corners = np.array(hull)
    return _area(corners[:, 0], corners[:, 1]) / float(np.ptp(x))


def _by_share(shares: npt.ArrayLike, accuracy: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = measured_rows(shares, accuracy)
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def _area(x: FloatArray, y: FloatArray) -> float:
    """Trapezium rule; x ascending."""
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


def _below(hull: list[tuple[float, float]], point: tuple[float, float]) -> bool:
    """Whether the hull's last corner lies on or under the line from the one before to point."""
    if len(hull) < 2:
        return False
    (x0, y0), (x1, y1) = hull[-2:]
    return (y1 - y0) * (point[0] - x0) <= (point[1] - y0) * (x1 - x0)
