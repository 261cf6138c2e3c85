"""One-by-one distillation of many students at once: their weights are stacked, students first.

All students of a step learn from the same rows: some features of each teacher, and what that
teacher makes of them. So what the rows cost is paid once, and of a student only the hidden units
and one product with its last layers are computed (`layer_distances`), never its matrices.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from understudy.actors.generators import generator_of
from understudy.actors.jobs import Job
from understudy.actors.stacks import stacked
from understudy.federate.generator import Generator
from understudy.federate.losses import layer_distances
from understudy.federate.methods.fed_lscl import first_generator
from understudy.federate.methods.method import Common

_ROWS = 40  # what a draw is for
_TOGETHER = 16  # students that are computed at once

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


class _Hidden(nn.Module):
    """The hidden part of a generator, as functional_call takes it."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, features: Tensor) -> dict[int, Tensor]:
        return self.generator.hidden(features)


class _Course:
    """Some students, stacked, among all teachers."""

    def __init__(
        self, network: Generator, teachers: Weights, own: float, students: Sequence[int]
    ) -> None:
        self.network, self.teachers, self.own = network, teachers, own
        self.part = _Hidden(network)
        self.students = torch.tensor(students)
        # By block: the names of the layers that make A and B.
        self.last = {target.block: network.last(target.block) for target in network.targets}
        self.numbers = sum(sum(network.sizes(target)) for target in network.targets)

    def losses(self, weights: Weights, draw: _Draw) -> Tensor:
        """(students,): the sum over a step's teachers of the mean squared error to each."""
        wanted = self._wanted(draw)
        batch = draw.features.shape[1]
        others = self._others(draw).to(draw.features.dtype)
        share = (others + self.own * (1 - others)) / (batch * self.numbers)
        share = share.repeat_interleave(batch, dim=1)
        low = vmap(self._low, in_dims=(0, None))(dict(weights), draw.features.flatten(0, 1))
        found = []
        for block, names in self.last.items():
            for name, rows in zip(names, wanted[block], strict=True):
                weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
                found.append(layer_distances(weight, bias, low[block], rows, share))
        return torch.stack(found).sum(dim=0)

    def distances(self, weights: Weights, draw: _Draw) -> list[float]:
        """The mean distance of each student to the others among these teachers; one student after
        the other, as differences, which tell the smallest distances too."""
        wanted, others = self._wanted(draw), self._others(draw)
        found = []
        for row, beside in enumerate(others):
            made = self._made(
                {name: each[row] for name, each in weights.items()}, draw.features.flatten(0, 1)
            )
            errors = torch.stack(
                [
                    (one - other).square().sum(dim=1)
                    for block in self.last
                    for one, other in zip(made[block], wanted[block], strict=True)
                ]
            ).sum(dim=0)
            errors = errors.view(len(draw.teachers), -1).mean(dim=1) / self.numbers
            found.append(float(errors[beside].mean()) if bool(beside.any()) else 0.0)
        return found

    def _wanted(self, draw: _Draw) -> dict[int, tuple[Tensor, Tensor]]:
        """By block: what the teachers make of their features, A and B, (rows, numbers) each."""
        some = {name: each[draw.teachers] for name, each in self.teachers.items()}
        made = vmap(self._made)(some, draw.features)
        return {block: (a.flatten(0, 1), b.flatten(0, 1)) for block, (a, b) in made.items()}

    @torch.no_grad()
    def _made(self, weights: Weights, features: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
        """By block: A and B as rows of numbers, (n, numbers) each."""
        made = functional_call(self.network, dict(weights), (features,))
        return {block: (a.flatten(-2), b.flatten(-2)) for block, (a, b) in made.items()}

    def _low(self, weights: Weights, features: Tensor) -> dict[int, Tensor]:
        own = {f"generator.{name}": each for name, each in weights.items()}
        found: dict[int, Tensor] = functional_call(self.part, own, (features,))
        return found

    def _others(self, draw: _Draw) -> Tensor:
        """(students, teachers): false where a teacher is the student itself."""
        return draw.teachers[None] != self.students[:, None]
