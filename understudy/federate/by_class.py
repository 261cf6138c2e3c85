"""Clients by classes: some that one client alone has, and some that several have.

A shared class is divided among its clients by a draw of Dirichlet's. A client's tasks are groups of
its classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from understudy.errors import ConfigError
from understudy.federate.division import Partition, TaskPlaces, random_of
from understudy.federate.samples import SampleSet
from understudy.tasks.instances import split_by_class

_CLASSES, _HOLDERS, _DIVISION, _ORDER, _LIMIT = range(40, 45)  # what a draw is for


class ClassPartitioner:
    """Divides a set by classes. What one client has depends on how many there are, and on the seed,
    and on nothing that another client does.

    Training samples are never test samples of anybody. All clients that have a class are tested
    with the same samples of it.
    """

    def __init__(self, data: SampleSet, partition: Partition, seed: int) -> None:
        self.partition, self.seed = partition, seed
        self._train, self._test = _divided(data, partition.test, seed)
        self._known = sorted(name for name in self._train if len(self._test[name]))
        _check_classes(partition, len(self._known))
        order = random_of(seed, _CLASSES).permutation(self._known).tolist()
        cut = partition.private * partition.clients
        self._private, self._shared = order[:cut], order[cut : cut + partition.shared]
        self._holders = self._drawn_holders()
        self._share = {name: self._division(name) for name in self._shared}

    def classes(self, client: int) -> list[int]:
        """A client's, its own before those it shares."""
        partition = self.partition
        own = self._private[client * partition.private : (client + 1) * partition.private]
        return [*own, *(name for name in self._shared if client in self._holders[name])]

    def places(self, client: int) -> list[TaskPlaces]:
        partition = self.partition
        held = self.classes(client)
        if partition.same_order:
            order = held
        else:
            order = random_of(self.seed, _ORDER, client).permutation(held).tolist()
        found = []
        for number in range(partition.tasks):
            first = number * partition.classes_per_task
            classes = order[first : first + partition.classes_per_task]
            train = [self._own(name, client) for name in classes]
            test = [self._test[name] for name in classes]
            found.append(
                TaskPlaces(
                    number,
                    tuple(classes),
                    self._joined(train, partition.train_per_class, client, number),
                    self._joined(test, partition.test_per_class, client, number),
                )
            )
        return found

    def _own(self, name: int, client: int) -> np.ndarray:
        """A client's training samples of a class."""
        places: np.ndarray = self._share[name][client] if name in self._share else self._train[name]
        return places

    def _joined(
        self, parts: Sequence[np.ndarray], most: int | None, client: int, number: int
    ) -> Tensor:
        random = random_of(self.seed, _LIMIT, client, number)
        kept = [part if most is None else random.permutation(part)[:most] for part in parts]
        return torch.from_numpy(np.concatenate(kept).astype(np.int64))

    def _drawn_holders(self) -> dict[int, list[int]]:
        """The clients that have each shared class. Where a client has some of them, as many clients
        have each, or one more."""
        clients, count = self.partition.clients, self.partition.held_shared
        if count is None or not self._shared:
            return {name: list(range(clients)) for name in self._shared}
        holders: dict[int, list[int]] = {name: [] for name in self._shared}
        random = random_of(self.seed, _HOLDERS)
        for client in range(clients):
            drawn = random.permutation(self._shared).tolist()
            for name in sorted(drawn, key=lambda each: len(holders[each]))[:count]:
                holders[name].append(client)
        return holders

    def _division(self, name: int) -> dict[int, np.ndarray]:
        """The training samples of a shared class, by client."""
        holders, places = self._holders[name], self._train[name]
        least = self.partition.at_least
        if len(places) < least * len(holders):
            raise ConfigError(
                f"partition: class {name} has {len(places)} training samples for {len(holders)} "
                f"clients, but each needs {least}; use fewer clients, or share fewer classes"
            )
        random = random_of(self.seed, _DIVISION, name)
        shares = random.dirichlet([self.partition.concentration] * len(holders))
        counts = dirichlet_counts(shares, len(places), least)
        ends = np.cumsum(counts)[:-1]
        return dict(zip(holders, np.split(random.permutation(places), ends), strict=True))


def dirichlet_counts(shares: np.ndarray, total: int, least: int) -> np.ndarray:
    """Whole numbers that add up to total: each `least`, and the rest by the shares, what is left of
    rounding down going to the largest remainders."""
    wanted = shares * (total - least * len(shares))
    counts: np.ndarray = np.floor(wanted).astype(np.int64) + least
    left = total - int(counts.sum())
    counts[np.argsort(np.floor(wanted) - wanted, kind="stable")[:left]] += 1
    return counts


def _divided(
    data: SampleSet, share: float, seed: int
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """(training, test) places of every class."""
    if data.held is None:
        split = split_by_class(data.label, share, seed)
        return {n: each[0] for n, each in split.items()}, {n: each[1] for n, each in split.items()}
    label, held = data.label.numpy(), data.held.numpy()
    names = np.unique(label).tolist()
    return (
        {name: np.flatnonzero((label == name) & ~held) for name in names},
        {name: np.flatnonzero((label == name) & held) for name in names},
    )


def _check_classes(partition: Partition, known: int) -> None:
    needed = partition.private * partition.clients + partition.shared
    if needed > known:
        raise ConfigError(
            f"partition: clients={partition.clients} with private={partition.private} classes each "
            f"and shared={partition.shared} need {needed} classes, but the data have {known} with "
            "samples to train and to test with; use fewer"
        )
    held = partition.shared if partition.held_shared is None else partition.held_shared
    if held > partition.shared:
        raise ConfigError(
            f"partition: held_shared={held} of shared={partition.shared} classes; use fewer"
        )
    asked = partition.tasks * partition.classes_per_task
    if asked > partition.private + held:
        raise ConfigError(
            f"tasks={partition.tasks} of classes_per_task={partition.classes_per_task} need "
            f"{asked} classes, but a client has {partition.private + held} (private="
            f"{partition.private} and {held} shared); use fewer, or give it more"
        )
