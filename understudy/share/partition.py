"""Which agent holds which data: the instances of one set, divided into tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.actors.records import registered
from understudy.errors import ConfigError
from understudy.share.tick import AGENT_SEED

_VALIDATION = 0.2  # of every class: no instance is trained by one agent and examined by another


@registered
@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """Inputs (n, ...), with labels (n,) of the whole set's classes."""

    x: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One agent's task: to tell some classes apart, whose order is that of its own answers."""

    number: int
    classes: tuple[int, ...]
    train: Instances
    validation: Instances

    def local(self, label: Tensor) -> Tensor:
        """Labels of the whole set as this task's own, 0 to len(classes) - 1."""
        table = torch.full((max(self.classes) + 1,), -1)
        table[list(self.classes)] = torch.arange(len(self.classes))
        return table[label]


@dataclass(frozen=True, slots=True)
class Partition:
    """How a set is divided. disjoint: an agent's tasks share no class."""

    tasks: int = 10
    classes_per_task: int = 2
    train_per_class: int = 64
    validation_per_class: int = 50
    disjoint: bool = False


class Partitioner:
    """Gives every agent its sequence of tasks, which does not depend on the other agents.

    Each class is split once for the whole set into training and validation instances; a task draws
    from these without replacement. Agents may hold the same instance. common: how many of the
    first tasks are those of one more agent, beyond the last.
    """

    def __init__(self, data: Instances, partition: Partition, seed: int, common: int = 0) -> None:
        names, counts = data.label.unique(return_counts=True)
        _check(partition, len(names), counts.tolist())
        self.data, self.partition, self.seed, self.common = data, partition, seed, common
        self._names: list[int] = names.tolist()
        self._split = _split(data.label.numpy(), self._names, seed)
        self._first: list[Task] | None = None

    def tasks(self, agent: int, agents: int) -> list[Task]:
        """One agent's; agents: how many there are."""
        if self._first is None:
            self._first = self._sequence(agents, [])[: self.common] if self.common else []
        return self._sequence(agent, self._first)

    def _sequence(self, agent: int, first: Sequence[Task]) -> list[Task]:
        own = self.seed + AGENT_SEED * agent
        return _sequence(self.data, self.partition, self._names, self._split, own, first)


def _check(partition: Partition, classes: int, counts: Sequence[int]) -> None:
    needed = partition.classes_per_task * (partition.tasks if partition.disjoint else 1)
    if needed > classes:
        raise ConfigError(
            f"tasks={partition.tasks} of classes_per_task={partition.classes_per_task} need "
            f"{needed} classes, but the data have {classes}; ask for fewer"
            + (", or set disjoint=false" if partition.disjoint else "")
        )
    for name, share in (
        ("train_per_class", 1 - _VALIDATION),
        ("validation_per_class", _VALIDATION),
    ):
        has = int(min(counts) * share)
        if getattr(partition, name) > has:
            raise ConfigError(
                f"{name}={getattr(partition, name)}, but the smallest class has {has} such "
                f"instances; use {has} or fewer"
            )


def _split(
    labels: np.ndarray, names: Sequence[int], seed: int
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """(training, validation) places of every class."""
    random = np.random.default_rng([seed, 0x5711])
    found = {}
    for name in names:
        places = random.permutation(np.flatnonzero(labels == name))
        cut = round(len(places) * (1 - _VALIDATION))
        found[name] = (places[:cut], places[cut:])
    return found


def _sequence(
    data: Instances,
    partition: Partition,
    names: Sequence[int],
    split: dict[int, tuple[np.ndarray, np.ndarray]],
    seed: int,
    first: Sequence[Task],
) -> list[Task]:
    """The first tasks, and then its own, which depend on those only where no class may come
    twice."""
    random = np.random.default_rng(seed)
    known = [name for task in first for name in task.classes]
    order = [*known, *(name for name in random.permutation(names) if name not in known)]
    sequence = []
    for number in range(partition.tasks):
        if partition.disjoint:
            start = number * partition.classes_per_task
            classes = order[start : start + partition.classes_per_task]
        else:
            classes = random.choice(names, partition.classes_per_task, replace=False).tolist()
        parts = []
        for side, count in enumerate((partition.train_per_class, partition.validation_per_class)):
            drawn = [
                random.choice(split[int(name)][side], count, replace=False) for name in classes
            ]
            places = torch.from_numpy(np.concatenate(drawn))
            parts.append(Instances(data.x[places], data.label[places]))
        sequence.append(Task(number, tuple(int(name) for name in classes), *parts))
    return [*first, *sequence[len(first) :]]


def generated_instances(
    classes: int = 10, per_class: int = 400, size: int = 8, noise: float = 0.55, seed: int = 0
) -> Instances:
    """Small pictures that need nothing from outside: each class two strokes at places and angles
    of its own, moved and blurred by chance. (n, size, size), values in [0, 1]."""
    random = np.random.default_rng([seed, classes, size])
    grid = (np.stack(np.meshgrid(*[np.arange(size)] * 2, indexing="ij")) + 0.5) / size
    strokes = random.uniform([0.25, 0.25, 0.0], [0.75, 0.75, np.pi], (classes, 2, 3))
    labels = np.repeat(np.arange(classes), per_class)
    moved = strokes[labels] + random.normal(0, [0.05, 0.05, 0.25], (len(labels), 2, 3))
    pictures = np.zeros((len(labels), size, size))
    for stroke in range(2):
        down, right, angle = (moved[:, stroke, i, None, None] for i in range(3))
        across = (grid[0] - down) * np.cos(angle) - (grid[1] - right) * np.sin(angle)
        along = (grid[0] - down) * np.sin(angle) + (grid[1] - right) * np.cos(angle)
        pictures += np.exp(-((across / 0.09) ** 2) - (along / 0.3) ** 4)
    pictures = np.clip(pictures + random.normal(0, noise, pictures.shape), 0, 1)
    return Instances(torch.tensor(pictures, dtype=torch.float32), torch.tensor(labels))
