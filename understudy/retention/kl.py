"""The KL to the model before training, on the responses of every batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from understudy.objectives.terms import Term, divergence
from understudy.retention.retention import Learner, Retention
from understudy.settings import KindSection

if TYPE_CHECKING:
    from torch import Tensor


class Kl(Retention):
    """GRPO's own: token by token, weighed by beta. It needs no tensors in a checkpoint."""

    def __init__(self, settings: KindSection, learner: Learner, seed: int, beta: float) -> None:
        super().__init__(settings, learner, seed)
        self.beta = beta
        self._reference: Mapping[str, Tensor] | None = None

    def terms(self, phase: int, step: int) -> Sequence[Term]:
        return [divergence(self.beta, self.reference)]

    def reference(self) -> Mapping[str, Tensor]:
        if self._reference is None:
            self._reference = self.learner.before()
        return self._reference
