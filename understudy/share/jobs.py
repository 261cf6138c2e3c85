"""What agents wait for within a step: training and examinations, alike ones computed together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from understudy.actors.jobs import Job
from understudy.share.learner import Learner
from understudy.share.penalties import Penalty, penalty_of
from understudy.share.training import Examples, Training, accuracies, stacks_by, train


@dataclass(frozen=True, slots=True, eq=False)
class Train(Training, Job):
    """Some epochs of training, held to the weights of others where there is a penalty."""

    penalty: Penalty | None = None

    @property
    def likeness(self) -> Hashable:
        return stacks_by(self.learner), self.lesson, self.epochs, type(self.penalty)

    @classmethod
    def run(cls, jobs: Sequence[Self]) -> Sequence[None]:
        train(jobs, penalty_of([job.penalty for job in jobs]))
        return [None] * len(jobs)


@dataclass(frozen=True, slots=True, eq=False)
class Examine(Job):
    """The share of each task's examples that are right, (tasks,).

    without: as if there were no candidate."""

    learner: Learner
    examples: Examples
    without: bool = False

    @property
    def likeness(self) -> Hashable:
        return stacks_by(self.learner), self.without

    @classmethod
    def run(cls, jobs: Sequence[Self]) -> Sequence[Tensor]:
        learners = [job.learner for job in jobs]
        examples = [job.examples for job in jobs]
        return list(accuracies(learners, examples, jobs[0].without))
