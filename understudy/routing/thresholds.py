"""How many questions a budget lets through, and how many of them gain from the cloud."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.routing.evidence import FloatArray

LEAST_TESTED = 48  # highest scores that are tested for gain, also where fewer may leave
_PARTS = 4  # of what is tested: a quarter, a half, ... are tried
_LEAST_OF_PART = 6  # questions; so many that all gain pass at a level of 0.1 / 4


def most_above(count: int, budget: float, confidence: float) -> int:
    """How many of `count` scores may lie above a threshold that keeps to a budget.

    With a threshold at the (k + 1)-th highest score, the share of new questions above it exceeds
    the budget with probability P(Binomial(count, budget) <= k), at most. The largest k for which
    that is no more than 1 - confidence (Clopper and Pearson's bound); -1 where there is none.
    """
    if budget >= 1.0:
        return count
    if budget <= 0.0:
        return -1
    return int((binomial_below(count, budget) <= 1.0 - confidence).sum()) - 1


def binomial_below(count: int, share: float) -> FloatArray:
    """P(Binomial(count, share) <= k) for k = 0, ..., count; share in (0, 1)."""
    import numpy as np

    k = np.arange(count + 1)
    ways = np.array([math.lgamma(i + 1) for i in range(count + 1)])
    logs = ways[-1] - ways - ways[::-1] + k * math.log(share) + k[::-1] * math.log1p(-share)
    below: FloatArray = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return below


def threshold_above(scores: FloatArray | Sequence[float], most: int) -> float:
    """The least threshold with no more than `most` scores above it; of ties all or none.

    Infinity, so that no question is ever asked, where most is negative; minus infinity where all
    may be.
    """
    if most < 0:
        return float("inf")
    return float("-inf") if most >= len(scores) else float(sorted(scores, reverse=True)[most])


def whole_ties(scores: FloatArray, most: int, limit: int) -> int:
    """How many questions leave where `most` of the highest scores should: of ties all or none.

    The whole tie that `most` ends in leaves where that is no more than `limit`, else none of it.
    """
    import numpy as np

    if most <= 0:
        return most
    last = np.sort(scores)[::-1][most - 1]
    through = int((scores >= last).sum())
    return through if through <= limit else int((scores > last).sum())


def number_that_gains(gain: FloatArray, confidence: float) -> int | None:
    """How many questions, from the highest score on, should be asked; None: it cannot be tested.

    gain: (questions,), the cloud's verdict minus the local model's, 1, 0 or -1, by falling score;
    NaN where the cloud was not asked. A quarter of the questions, a half, three quarters and all
    are tried; fewer parts where they would have less than six questions. A part gains where a
    one-sided sign test says so at a level of (1 - confidence) / parts, so that a cloud which is no
    better is asked with probability 1 - confidence at most. Of the parts that gain it is the one
    with the highest lower bound of the sum. So few questions that no answers to them could pass
    are no test.
    """
    import numpy as np

    known = np.flatnonzero(~np.isnan(gain))
    if 0.5 ** len(known) > 1.0 - confidence:
        return None
    parts = min(_PARTS, max(1, len(known) // _LEAST_OF_PART))
    alpha = (1.0 - confidence) / parts
    width = NormalDist().inv_cdf(1.0 - alpha)
    found, highest = 0, 0.0
    for part in range(1, parts + 1):
        size = -(-len(known) * part // parts)
        values = gain[known[:size]]
        won, decided = int((values > 0).sum()), int((values != 0).sum())
        by_chance = float(binomial_below(decided, 0.5)[decided - won])  # as many, or more
        bound = float(values.sum()) - width * math.sqrt(decided)
        if by_chance <= alpha and (not found or bound > highest):
            last = part == parts
            found, highest = len(gain) if last else int(known[size - 1]) + 1, bound
    return found
