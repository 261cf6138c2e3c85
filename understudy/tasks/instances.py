"""Labelled instances: inputs of any form, and the class of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """Inputs (n, ...), with labels (n,) of the whole set's classes."""

    x: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)


def split_by_class(
    label: Tensor, share: float, seed: int
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """(training, held out) places of every class's instances; share: of those held out."""
    random = np.random.default_rng([seed, 0x5711])
    labels = label.numpy()
    found = {}
    for name in np.unique(labels).tolist():
        places = random.permutation(np.flatnonzero(labels == name))
        cut = round(len(places) * (1 - share))
        found[name] = (places[:cut], places[cut:])
    return found


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
