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
from understudy.tasks.instances import Instances, split_by_class

# No instance is trained by one agent and examined by another.
VALIDATION_SHARE = 0.2


registered(Instances)  # shared ones cross between processes and machines


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
        self._split = split_by_class(data.label, VALIDATION_SHARE, seed)
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
        ("train_per_class", 1 - VALIDATION_SHARE),
        ("validation_per_class", VALIDATION_SHARE),
    ):
        has = int(min(counts) * share)
        if getattr(partition, name) > has:
            raise ConfigError(
                f"{name}={getattr(partition, name)}, but the smallest class has {has} such "
                f"instances; {f'use {has} or fewer' if has else 'give it more'}"
            )


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
