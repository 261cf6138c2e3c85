"""One-by-one distillation of many students at once: their weights are stacked, students first."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from understudy.actors.generators import generator_of
from understudy.actors.jobs import Job
from understudy.federate.generator import Generator
from understudy.federate.methods.fed_lscl import first_generator
from understudy.federate.methods.method import Common

_ROWS = 40  # what a draw is for
_TOGETHER = 8  # students whose matrices are in memory at once

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Distilled:
    """By student. before, after: the mean distance to its teachers."""

    students: list[dict[str, Tensor]]
    before: list[float]
    after: list[float]


@dataclass(frozen=True, slots=True, eq=False)
class Distil(Job):
    """Every client's generator as a student of all others. features: (m, width) of each."""

    common: Common
    settings: Any
    generators: Sequence[Weights]
    features: Sequence[Tensor]
    round: int

    @property
    def likeness(self) -> Hashable:
        return id(self)

    @classmethod
    def run(cls, jobs: Sequence[Self]) -> Sequence[Distilled]:
        return [distilled(job) for job in jobs]


def distilled(job: Distil) -> Distilled:
    network = first_generator(job.common)
    teachers = stacked(job.generators)
    draws = [_drawn(job, step) for step in range(job.settings.steps + 1)]
    students: list[dict[str, Tensor]] = []
    before: list[float] = []
    after: list[float] = []
    for first in range(0, len(job.generators), _TOGETHER):
        own = list(range(first, min(first + _TOGETHER, len(job.generators))))
        weights = {name: each[own].clone() for name, each in teachers.items()}
        course = _Course(network, teachers, job.settings.own, own)
        before += course.distances(weights, draws[-1])
        _learn(course, weights, draws[:-1], job.settings.learning_rate)
        after += course.distances(weights, draws[-1])
        for row in range(len(own)):
            students.append({name: each[row].clone() for name, each in weights.items()})
    return Distilled(students, before, after)


def _learn(
    course: _Course, weights: dict[str, Tensor], draws: Sequence[_Draw], learning_rate: float
) -> None:
    """Adam on stacked weights is Adam on each student's."""
    optimiser = torch.optim.Adam(list(weights.values()), lr=learning_rate)
    for draw in draws:
        for weight in weights.values():
            weight.requires_grad_()
        losses = course.losses(weights, draw)
        gradients = torch.autograd.grad(losses.sum(), list(weights.values()))
        for weight, gradient in zip(weights.values(), gradients, strict=True):
            weight.requires_grad_(False)
            weight.grad = gradient
        optimiser.step()


@dataclass(frozen=True, slots=True)
class _Draw:
    """teachers: their numbers, (t,); features: (t, batch, width)."""

    teachers: Tensor
    features: Tensor


def _drawn(job: Distil, step: int) -> _Draw:
    """The teachers of a step, and some features of each, with replacement where it sent few."""
    random = generator_of(job.common.seed, _ROWS, job.round, step)
    count = len(job.generators)
    most = count if job.settings.teachers is None else min(count, job.settings.teachers)
    chosen = np.sort(random.permutation(count)[:most])
    rows = []
    for teacher in chosen.tolist():
        known = job.features[teacher]
        few = len(known) < job.settings.batch
        places = random.choice(len(known), job.settings.batch, replace=few)
        rows.append(known[torch.from_numpy(places)])
    return _Draw(torch.from_numpy(chosen), torch.stack(rows))


class _Course:
    """Some students, stacked, among all teachers."""

    def __init__(
        self, network: Generator, teachers: Weights, own: float, students: Sequence[int]
    ) -> None:
        self.network, self.teachers, self.own = network, teachers, own
        self.students = torch.tensor(students)

    def losses(self, weights: Weights, draw: _Draw) -> Tensor:
        """(students,): the sum over a step's teachers of the distance to each."""
        return (self._errors(weights, draw) * self._weights(draw)).sum(dim=1)

    def distances(self, weights: Weights, draw: _Draw) -> list[float]:
        """The mean distance of each student to the others among these teachers."""
        with torch.no_grad():
            errors, others = self._errors(weights, draw), self._others(draw)
        found: list[float] = ((errors * others).sum(1) / others.sum(1).clamp(min=1)).tolist()
        return found

    def _errors(self, weights: Weights, draw: _Draw) -> Tensor:
        """(students, teachers): mean squared error of all numbers of all matrices."""
        with torch.no_grad():
            some = {name: each[draw.teachers] for name, each in self.teachers.items()}
            wanted = vmap(self._matrices)(some, draw.features)  # (teachers, batch, numbers)
        found = vmap(self._matrices, in_dims=(0, None))(weights, draw.features)
        return (found - wanted).square().mean(dim=(2, 3))

    def _matrices(self, weights: Weights, features: Tensor) -> Tensor:
        """(..., numbers): all of A and B of all blocks, side by side."""
        made = functional_call(self.network, dict(weights), (features,))
        parts = [matrix.flatten(-2) for block in sorted(made) for matrix in made[block]]
        return torch.cat(parts, dim=-1)

    def _others(self, draw: _Draw) -> Tensor:
        """(students, teachers): 0 where a teacher is the student itself, else 1."""
        return (draw.teachers[None] != self.students[:, None]).float()

    def _weights(self, draw: _Draw) -> Tensor:
        others = self._others(draw)
        return others + self.own * (1 - others)


def stacked(models: Sequence[Weights]) -> dict[str, Tensor]:
    return {name: torch.stack([model[name] for model in models]) for name in models[0]}
