"""What clients wait for within a step: training and examinations."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Self

from understudy.actors.jobs import Job
from understudy.federate.lesson import Lesson
from understudy.federate.methods.method import Method
from understudy.federate.together import trained


@dataclass(frozen=True, slots=True, eq=False)
class Train(Job):
    """One client's training of a round; the mean of every term of its loss."""

    method: Method
    lesson: Lesson

    @property
    def likeness(self) -> Hashable:
        return type(self.method).__qualname__, id(type(self.method))

    @classmethod
    def run(cls, jobs: Sequence[Self]) -> Sequence[dict[str, float]]:
        return trained([job.method for job in jobs], [job.lesson for job in jobs])


@dataclass(frozen=True, slots=True, eq=False)
class Examine(Job):
    """One client's accuracy on the test samples of each of its tasks."""

    method: Method

    @property
    def likeness(self) -> Hashable:
        return type(self.method).__qualname__, id(type(self.method))

    @classmethod
    def run(cls, jobs: Sequence[Self]) -> Sequence[list[float]]:
        return [job.method.accuracies() for job in jobs]
