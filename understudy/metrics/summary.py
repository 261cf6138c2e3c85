"""How the summary of every loop begins, so that runs of different loops compare."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy.typing as npt

from understudy.metrics.evaluation import mean_and_spread, wilson_interval
from understudy.types import Cost


@dataclass(frozen=True, slots=True)
class Quality:
    """A mean accuracy with its 95 % interval; None where it is not known."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SummaryHead:
    """The first keys of a summary.json.

    A user is whoever the loop serves: a task of a stream, an agent, a client. `cost` is what
    crossed the link in training.
    """

    quality: Quality
    cost: Cost
    per_user: tuple[float | None, ...]  # each user's accuracy, in the loop's order


def quality_over_questions(mean: float, questions: int) -> Quality:
    """Of a share of right answers among so many different test questions: Wilson's interval."""
    if not questions or not math.isfinite(mean):
        return Quality(mean if math.isfinite(mean) else None, None, None)
    return Quality(mean, *wilson_interval(mean * questions, questions))


def quality_over_repeats(values: npt.ArrayLike) -> Quality:
    """Of independent repeats, such as seeds: the mean -+ 1.96 standard errors; of one repeat
    there is no interval."""
    mean, deviation, count = mean_and_spread(values)
    if not count:
        return Quality(None, None, None)
    if count == 1:
        return Quality(mean, None, None)
    reach = 1.96 * deviation / math.sqrt(count)
    return Quality(mean, mean - reach, mean + reach)
