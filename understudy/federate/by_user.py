"""Clients by users: where samples are somebody's, a user is a client."""

from __future__ import annotations

import numpy as np
import torch

from understudy.errors import ConfigError
from understudy.federate.division import Partition, TaskPlaces, random_of
from understudy.federate.samples import SampleSet

_CHOICE, _TEST, _ORDER = range(50, 53)  # what a draw is for


class UserPartitioner:
    """Gives each client one user's samples. Users are chosen by the seed among those with enough.

    A task that has all classes of the set is a part of a user's samples, in the order in which they
    come; else it is a group of the user's classes.
    """

    def __init__(self, data: SampleSet, partition: Partition, seed: int) -> None:
        assert data.user is not None
        self.data, self.partition, self.seed = data, partition, seed
        self._by_time = partition.classes_per_task >= len(data.classes)
        order = np.argsort(data.user.numpy(), kind="stable")
        counts = np.bincount(data.user.numpy(), minlength=len(data.users))
        self._of = np.split(order, np.cumsum(counts)[:-1])
        enough = [user for user in range(len(data.users)) if self._has_enough(user)]
        if len(enough) < partition.clients:
            needs = (
                f"{partition.tasks} samples to train with and one to test with"
                if self._by_time
                else f"{partition.tasks * partition.classes_per_task} classes"
            )
            raise ConfigError(
                f"clients={partition.clients}, but {len(enough)} of {len(data.users)} users have "
                f"{needs}; use fewer clients, tasks or classes_per_task"
            )
        drawn = random_of(seed, _CHOICE).permutation(enough)[: partition.clients]
        self.users: list[int] = sorted(drawn.tolist())

    def places(self, client: int) -> list[TaskPlaces]:
        user = self.users[client]
        train, test = self._divided(user)
        if self._by_time:
            every = tuple(range(len(self.data.classes)))
            parts = [(every, *each) for each in zip(self._cut(train), self._cut(test), strict=True)]
        else:
            parts = self._by_classes(user, train, test)
        return [
            TaskPlaces(number, classes, torch.from_numpy(trained), torch.from_numpy(tested))
            for number, (classes, trained, tested) in enumerate(parts)
        ]

    def _has_enough(self, user: int) -> bool:
        train, test = self._divided(user)
        if self._by_time:
            return len(train) >= self.partition.tasks and len(test) > 0
        needed = self.partition.tasks * self.partition.classes_per_task
        return len(self._classes(train)) >= needed

    def _divided(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        """(training, test) places of a user, in the order in which they come."""
        places = self._of[user]
        if self.data.held is not None:
            held = self.data.held.numpy()[places]
        else:
            count = max(1, round(len(places) * self.partition.test))
            held = np.zeros(len(places), dtype=bool)
            held[random_of(self.seed, _TEST, user).permutation(len(places))[:count]] = True
        return places[~held], places[held]

    def _cut(self, places: np.ndarray) -> list[np.ndarray]:
        return list(np.array_split(places, self.partition.tasks))

    def _classes(self, places: np.ndarray) -> list[int]:
        found: list[int] = np.unique(self.data.label.numpy()[places]).tolist()
        return found

    def _by_classes(
        self, user: int, train: np.ndarray, test: np.ndarray
    ) -> list[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
        label, size = self.data.label.numpy(), self.partition.classes_per_task
        order = random_of(self.seed, _ORDER, user).permutation(self._classes(train)).tolist()
        parts = []
        for number in range(self.partition.tasks):
            classes = tuple(order[number * size : (number + 1) * size])
            trained, tested = (each[np.isin(label[each], classes)] for each in (train, test))
            parts.append((classes, trained, tested))
        return parts
