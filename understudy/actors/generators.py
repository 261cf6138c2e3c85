"""Random numbers that belong to a place, not to a moment: the same alone, together or resumed."""

from __future__ import annotations

import numpy as np


def generator_of(*place: int) -> np.random.Generator:
    """A generator for one place, such as (seed, agent, task, epoch)."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(place)))
