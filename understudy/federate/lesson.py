"""The minibatches of one round of a client: the same alone, together or resumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.actors.generators import generator_of
from understudy.federate.settings import LocalTraining

_ORDER, _STEP = 20, 21  # what a draw is for


@dataclass(frozen=True, slots=True)
class Lesson:
    """seed: the client's own; round: counted over the whole run."""

    task: int
    round: int
    seed: int
    local: LocalTraining

    @property
    def learning_rate(self) -> float:
        return self.local.learning_rate

    def batches(self, count: int) -> Iterator[tuple[Tensor, np.random.Generator]]:
        """(places among `count` samples, a generator for what the step draws) of every step: each
        epoch in an order of its own, the last batch of an epoch as small as it is."""
        step, size = 0, self.local.batch
        for epoch in range(self.local.epochs):
            order = generator_of(self.seed, _ORDER, self.round, epoch).permutation(count)
            for first in range(0, count, size):
                if step == self.local.steps:
                    return
                random = generator_of(self.seed, _STEP, self.round, step)
                yield torch.from_numpy(order[first : first + size]), random
                step += 1
