"""Learners of one shape trained together: their tensors stacked, each with its own data and random.

A learner's numbers do not depend on the others in the stack: every row has its own minibatches,
dropout, loss and optimiser steps, drawn by (seed, task, epoch).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from understudy.actors.generators import generator_of
from understudy.actors.stacks import adam_step
from understudy.share.learner import Learner
from understudy.share.nets.stacked import Group, Kept, NetShape, body, decoded, kept_shape, mixture

# What is trained: all of a monolithic learner; the first tasks of a modular one, structures fixed;
# a later task, with its candidate and without; the modules alone.
Lesson = Literal["whole", "assimilate", "accommodate"]

TRAINED: dict[str, tuple[str, ...]] = {  # how the names of what a step moves begin
    "whole": ("modules.", "decoders."),
    "with": ("candidate.", "structure", "decoders."),
    "without": ("structure", "decoders."),
    "accommodate": ("modules.", "candidate."),
}

BATCH, LEARNING_RATE = 64, 1e-3
_EXAMINED = 128  # examples of each row that are computed at once in an examination

Weights = dict[str, Tensor]
Penalty = Callable[[Weights], Tensor]  # of stacked weights: (rows,)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What a learner is trained or examined on: inputs as its first layer takes them, each with
    the number of its task and its label there."""

    x: Tensor
    label: Tensor
    task: Tensor

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Some epochs of one learner. key: what its random numbers are drawn by, beside the epoch."""

    learner: Learner
    examples: Examples
    lesson: Lesson
    epochs: range
    key: tuple[int, ...]


def train(jobs: Sequence[Training], penalty: Penalty | None = None) -> None:
    """Train the learners of all jobs, in place. They have one shape, one lesson and the same
    epochs, and differ in all else. penalty: added to each one's loss."""
    stack = Stack([job.learner for job in jobs])
    steps = ["with", "without"] if jobs[0].lesson == "assimilate" else [jobs[0].lesson]
    data = _padded([job.examples for job in jobs])
    counts = torch.tensor([len(job.examples) for job in jobs])
    for epoch in jobs[0].epochs:
        random = [generator_of(*job.key, epoch) for job in jobs]
        order = _orders(random, counts)
        for first in range(0, int(counts.max()), BATCH):
            places = order[:, first : first + BATCH]
            batch = Examples(
                *(each[torch.arange(len(jobs))[:, None], places.clamp(min=0)] for each in data)
            )
            for step in steps:
                kept = stack.kept(random, step)
                _learn(stack, batch, places >= 0, step, kept, penalty)
    stack.hand_back()


def _learn(
    stack: Stack,
    batch: Examples,
    there: Tensor,
    step: str,
    kept: Kept | None,
    penalty: Penalty | None,
) -> None:
    """One optimiser step of every row that has a minibatch. there: (rows, samples)."""
    trained = [name for name in stack.weights if name.startswith(TRAINED[step])]
    for name in trained:
        stack.weights[name].requires_grad_()
    logits = stack.logits(batch, step, kept)
    losses = F.cross_entropy(logits.flatten(0, 1), batch.label.flatten(), reduction="none")
    counts = there.sum(dim=1)
    loss = (losses.view_as(there) * there).sum(dim=1) / counts.clamp(min=1)
    if penalty is not None:
        loss = loss + penalty(stack.weights)
    gradients = torch.autograd.grad(loss.sum(), [stack.weights[name] for name in trained])
    for name in trained:
        stack.weights[name].requires_grad_(False)
    stack.adam(trained, gradients, counts > 0)


def answers(learner: Learner, examples: Examples) -> Tensor:
    """(samples, classes): one learner's logits, without dropout."""
    with torch.no_grad():
        return Stack([learner]).logits(_alone(examples), "exam", None)[0]


def embedded(learner: Learner, examples: Examples) -> Tensor:
    """(samples, features): what one learner's decoders see of them, without dropout."""
    with torch.no_grad():
        return Stack([learner]).features(_alone(examples), "exam")[0]


def _alone(examples: Examples) -> Examples:
    return Examples(examples.x[None], examples.label[None], examples.task[None])


def accuracies(
    learners: Sequence[Learner], examples: Sequence[Examples], without: bool = False
) -> Tensor:
    """(rows, tasks): the share of each task's examples that each learner gets right; NaN where
    there is none. No dropout; with the candidate where there is one, or without."""
    stack, step = Stack(learners), "without" if without else "exam"
    data = Examples(*_padded(examples, _EXAMINED))
    with torch.no_grad():
        parts = [
            stack.logits(Examples(x, label, task), step, None).argmax(dim=2) == label
            for x, label, task in zip(
                data.x.split(_EXAMINED, dim=1),
                data.label.split(_EXAMINED, dim=1),
                data.task.split(_EXAMINED, dim=1),
                strict=True,
            )
        ]
    right = torch.cat(parts, dim=1)
    found = torch.full((len(learners), learners[0].shape.tasks), torch.nan)
    for row, each in enumerate(examples):
        for task in each.task.unique().tolist():
            found[row, task] = right[row, : len(each)][each.task == task].float().mean()
    return found


def stacks_by(learner: Learner) -> Hashable:
    """What learners that are stacked have in common: then none computes more than it would alone,
    and in the same order."""
    return learner.shape, learner.modules, tuple(learner.weights)


class Stack:
    """The weights of several learners as one set of tensors, rows first, and Adam on them."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners = learners
        self.shape: NetShape = learners[0].shape
        self.used = learners[0].modules
        assert {stacks_by(learner) for learner in learners} == {stacks_by(learners[0])}
        self.weights = {
            name: torch.stack([self._cut(name, learner.weights[name]) for learner in learners])
            for name in learners[0].weights
        }

    @cached_property
    def moments(self) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Adam's (m, v, t) by name; made when first needed, so not in examinations."""
        return {
            name: _moments(
                [learner.moments.get(name) for learner in self.learners],
                weight,
                partial(self._cut, name),
            )
            for name, weight in self.weights.items()
        }

    def _cut(self, name: str, weight: Tensor) -> Tensor:
        """Without the modules that no row uses; of a structure the candidate's column stays."""
        if name.startswith("modules."):
            return weight[: self.used]
        if name == "structure":
            return torch.cat([weight[:, : self.used], weight[:, -1:]], dim=1)
        return weight

    def _put(self, name: str, target: Tensor, row: Tensor) -> None:
        if name.startswith("modules."):
            target[: self.used] = row
        elif name == "structure":
            target[:, : self.used], target[:, -1:] = row[:, :-1], row[:, -1:]
        else:
            target.copy_(row)

    def hand_back(self) -> None:
        """Write the rows into their learners."""
        for name, weight in self.weights.items():
            m, v, t = self.moments[name]
            for row, learner in enumerate(self.learners):
                self._put(name, learner.weights[name], weight[row])
                whole = learner.weights[name]
                first, second = torch.zeros_like(whole), torch.zeros_like(whole)
                self._put(name, first, m[row])
                self._put(name, second, v[row])
                learner.moments[name] = (first, second, t[row].clone())

    def logits(self, batch: Examples, step: str, kept: Kept | None) -> Tensor:
        features = self.features(batch, step, kept)
        weight, bias = self.weights["decoders.weight"], self.weights["decoders.bias"]
        return decoded(features, batch.task, weight, bias)

    def features(self, batch: Examples, step: str, kept: Kept | None = None) -> Tensor:
        """(rows, samples, features) by the modules that this step sees."""
        modules = self._weights_of("modules")
        if not self.shape.modular:
            return body(self.shape, [Group(modules)], batch.x, kept)
        structure = self.weights["structure"]
        candidate = self._candidate(step)
        if not candidate:
            structure = structure[:, :, :-1]
        mix = mixture(structure, batch.task)
        groups = [Group(modules, mix[:, :, : self.used])]
        if candidate:
            groups.append(Group(candidate, mix[:, :, self.used :]))
        return body(self.shape, groups, batch.x, kept)

    def _candidate(self, step: str) -> Weights:
        """Where there is one in this step's sight."""
        return {} if step == "without" else self._weights_of("candidate")

    def _weights_of(self, kind: str) -> Weights:
        """Those of modules or of the candidate, by the names that they have in a module."""
        return {
            name.removeprefix(f"{kind}."): weight
            for name, weight in self.weights.items()
            if name.startswith(f"{kind}.")
        }

    def kept(self, random: Sequence[np.random.Generator], step: str) -> Kept | None:
        """What dropout leaves in every layer, each row by its own generator."""
        dropped = round(self.shape.dropout * 256)
        if not dropped:
            return None
        modules = 1
        if self.shape.modular:
            modules = self.used + bool(self._candidate(step))
        shapes = [kept_shape(self.shape, k, BATCH, modules) for k in range(self.shape.layers)]
        sizes = [int(np.prod(shape)) for shape in shapes]
        drawn = np.stack([_left(own, sum(sizes), dropped) for own in random])
        parts = torch.from_numpy(drawn).split(sizes, dim=1)
        units = [p.view(len(random), *shape) for p, shape in zip(parts, shapes, strict=True)]
        return Kept(units, 256 / (256 - dropped))

    def adam(self, names: Sequence[str], gradients: Sequence[Tensor], active: Tensor) -> None:
        """One step of Adam as published, for the rows that are active."""
        rows = active.nonzero().flatten().tolist()
        parts: list[list[Tensor]] = [[], [], [], [], []]  # weights, m, v, t, gradients, by row
        for name, gradient in zip(names, gradients, strict=True):
            self.moments[name][2].add_(active)
            # Whole rows of memory, as the fused step takes them.
            found = (*self._by_row[name], gradient.contiguous().unbind())
            for part, of in zip(parts, found, strict=True):
                part.extend(of[row] for row in rows)
        weights, m, v, t, given = parts
        adam_step(weights, given, (m, v), t, LEARNING_RATE)

    @cached_property
    def _by_row(self) -> dict[str, list[tuple[Tensor, ...]]]:
        """Every weight with its moments, each cut into rows."""
        return {
            name: [each.unbind() for each in (weight, *self.moments[name])]
            for name, weight in self.weights.items()
        }


def _moments(
    found: Sequence[tuple[Tensor, Tensor, Tensor] | None],
    weight: Tensor,
    cut: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """(m, v, t) of all rows; a row without any begins with zeros."""
    m, v = torch.zeros_like(weight), torch.zeros_like(weight)
    t = torch.zeros(len(weight))
    for row, moments in enumerate(found):
        if moments is not None:
            m[row], v[row], t[row] = cut(moments[0]), cut(moments[1]), moments[2]
    return m, v, t


def _left(own: np.random.Generator, count: int, dropped: int) -> NDArray[np.uint8]:
    """1 for each unit that dropout leaves, if it takes `dropped` of 256; a bit says a half."""
    bits = 1 if dropped == 128 else 8
    words = own.bit_generator.random_raw(-(-count * bits // 64))  # five times as fast as bytes()
    drawn = words.view(np.uint8)
    if bits == 1:
        return np.unpackbits(drawn, count=count)
    return (drawn[:count] >= dropped).view(np.uint8)


def _orders(random: Sequence[np.random.Generator], counts: Tensor) -> Tensor:
    """(rows, places): each row's examples in an order of its own, -1 beyond its last; whole
    minibatches, so that dropout draws as much whatever the others need."""
    order = torch.full((len(random), -(-int(counts.max()) // BATCH) * BATCH), -1)
    for row, (own, count) in enumerate(zip(random, counts.tolist(), strict=True)):
        order[row, :count] = torch.from_numpy(own.permutation(count))
    return order


def _padded(examples: Sequence[Examples], multiple: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """(x, label, task), rows first, of a multiple of examples; zeros beyond a row's last."""
    longest = max(map(len, examples))
    length = -(-longest // multiple) * multiple

    def stacked(name: str) -> Tensor:
        parts = [getattr(each, name) for each in examples]
        whole: Tensor = parts[0].new_zeros(len(parts), length, *parts[0].shape[1:])
        for row, part in zip(whole, parts, strict=True):
            row[: len(part)] = part
        return whole

    return stacked("x"), stacked("label"), stacked("task")
