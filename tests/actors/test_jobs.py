"""Alike jobs are done together, a few at a time; records have different names."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import pytest

from understudy.actors import packing  # which registers the records of the link
from understudy.actors.jobs import Job, Step, run_steps
from understudy.actors.records import RECORDS, registered
from understudy.link.carrier import Message


@dataclass(frozen=True)
class Double(Job):
    number: int
    done: ClassVar[list[list[int]]] = []
    at_once: ClassVar[int] = 2

    @property
    def likeness(self) -> Hashable:
        return self.number % 2

    @classmethod
    def run(cls, jobs: Sequence[Self]) -> Sequence[int]:
        cls.done.append([job.number for job in jobs])
        return [2 * job.number for job in jobs]


def step(number: int, jobs: int) -> Step:
    for _ in range(jobs):
        number = yield Double(number)
    return [Message(number, 0, "result", (), 0)]


def test_alike_jobs_are_done_together_and_everyone_gets_its_own_result() -> None:
    Double.done.clear()
    outboxes = run_steps([step(1, 1), step(2, 2), step(3, 0), step(4, 1), step(5, 1), step(6, 1)])
    assert [outbox[0].sender for outbox in outboxes] == [2, 8, 3, 8, 10, 12]
    assert sorted(Double.done[:3]) == [[1, 5], [2, 4], [6]]
    assert Double.done[3:] == [[4]]


def test_an_actor_that_fails_ends_the_step_of_all() -> None:
    def failing() -> Step:
        yield Double(1)
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        run_steps([step(1, 1), failing()])


def test_records_are_dataclasses_of_different_names() -> None:
    @registered
    @dataclass
    class Forecast:
        rain: float

    assert packing.unpacked(packing.packed(Forecast(0.5))) == Forecast(0.5)
    assert RECORDS.pop("Forecast") is Forecast
    with pytest.raises(TypeError, match="no dataclass"):
        registered(int)
    with pytest.raises(TypeError, match="a record Message is registered by understudy"):

        @registered
        @dataclass
        class Message:
            text: str
