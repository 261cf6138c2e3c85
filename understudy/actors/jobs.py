"""What actors wait for within a step: jobs, of which alike ones are done together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from understudy.link.carrier import Message


class Job(ABC):
    """Something to be computed. Jobs of one class and one `likeness` are given to `run` together,
    `at_once` of them at most; what each gives must not depend on the others."""

    __slots__ = ()
    at_once: ClassVar[int] = 32

    @property
    @abstractmethod
    def likeness(self) -> Hashable:
        """What jobs that are run together have in common."""

    @classmethod
    @abstractmethod
    def run(cls, jobs: Sequence[Self]) -> Sequence[Any]:
        """The result of each, in order."""


# Yields jobs, is sent their results, and returns what an actor sends.
Step = Generator[Job, Any, Sequence[Message]]


def run_steps(steps: Sequence[Step]) -> list[list[Message]]:
    """Run steps to their ends, with the jobs that they wait for; their outboxes, in order."""
    outboxes: list[list[Message]] = [[] for _ in steps]
    waiting: dict[int, Job] = {}

    def go_on(number: int, result: Any) -> None:
        try:
            waiting[number] = steps[number].send(result)
        except StopIteration as ended:
            outboxes[number] = list(ended.value)

    for number in range(len(steps)):
        go_on(number, None)
    while waiting:
        jobs = dict(waiting)
        waiting.clear()
        for group in _alike(jobs):
            results = type(jobs[group[0]]).run([jobs[number] for number in group])
            for number, result in zip(group, results, strict=True):
                go_on(number, result)
    return outboxes


def _alike(jobs: Mapping[int, Job]) -> Iterator[list[int]]:
    """Their numbers, a few of those that are run together at a time."""
    groups: dict[Hashable, list[int]] = {}
    for number, job in sorted(jobs.items()):
        groups.setdefault((type(job), job.likeness), []).append(number)
    for group in groups.values():
        size = jobs[group[0]].at_once
        for first in range(0, len(group), size):
            yield group[first : first + size]
