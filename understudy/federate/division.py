"""How a set is to be divided among clients, and what a client's task is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Partition:
    """How a set is divided.

    private: classes that one client alone has; shared: classes that several have; held_shared: how
    many of these a client has, None: all. concentration: Dirichlet's; small: most of a class goes
    to few. test: the share to test with, where the set does not say it. train_per_class,
    test_per_class: samples of a class that a client has in one task, at most. same_order: all
    clients meet the shared classes in one order. at_least: training samples that each client gets
    of a class before the rest is divided.
    """

    clients: int = 5
    tasks: int = 5
    classes_per_task: int = 8
    private: int = 15
    shared: int = 25
    held_shared: int | None = None
    concentration: float = 0.5
    test: float = 0.2
    train_per_class: int | None = None
    test_per_class: int | None = None
    same_order: bool = False
    at_least: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class TaskPlaces:
    """One task of a client: the places of its samples in the whole set."""

    number: int
    classes: tuple[int, ...]
    train: Tensor
    test: Tensor


def random_of(seed: int, *what: int) -> np.random.Generator:
    """A stream of its own for each thing that is drawn."""
    return np.random.default_rng([seed, *what])
