"""Random numbers that belong to a place, not to a moment: the same alone, together or resumed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def generator_of(*place: int) -> np.random.Generator:
    """A generator for one place, such as (seed, agent, task, epoch)."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(place)))


def kept_units(random: np.random.Generator, shape: tuple[int, ...], dropout: float) -> Tensor:
    """What dropout leaves, as factors 0 or 1 / (1 - dropout); dropout in steps of 1/256."""
    dropped = round(dropout * 256)
    bytes_ = np.frombuffer(random.bytes(int(np.prod(shape))), dtype=np.uint8).reshape(shape)
    return torch.from_numpy((bytes_ >= dropped).astype(np.float32)) * (256 / (256 - dropped))
