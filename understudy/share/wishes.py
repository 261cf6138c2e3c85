"""The clock, and what an agent wants computed before it goes on: alike wishes are done together."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.share.learner import Learner
from understudy.share.penalties import Penalty
from understudy.share.training import Examples, Job


@dataclass(frozen=True, slots=True)
class Tick:
    """A moment of the clock. After `epoch` epochs of a task comes a round of some exchanges, each a
    tick; the last of them is followed by `train` epochs (0 for the others)."""

    task: int
    epoch: int
    exchange: int
    train: int
    round: int


@dataclass(frozen=True, slots=True, eq=False)
class Train(Job):
    """Some epochs of training, held to the weights of others where there is a penalty."""

    penalty: Penalty | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Examine:
    """The share of each task's examples that are right, (tasks,), which is sent back.

    without: as if there were no candidate."""

    learner: Learner
    examples: Examples
    without: bool = False


Wish = Train | Examine
