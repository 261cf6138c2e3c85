"""A retention of your own: weights are pulled to where they stood at the last switch (L2-SP).

repeat
    learn the batch, and  weight / 2 * sum (theta - theta_0)^2       from the second phase on
    at a switch: theta_0 <- theta

understudy train dagrpo --out runs/pull --set retention.kind=examples/extend/retention.py:Pull
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from understudy.objectives.terms import Term, WeightTerm
from understudy.retention.retention import Learner, Retention
from understudy.settings import KindSection

if TYPE_CHECKING:
    from torch import Tensor


class Pull(Retention):
    """Pulls every trained tensor to its value at the last switch."""

    class Settings(KindSection):
        weight: float = Field(0.1, ge=0, description="of the squared distance, halved")

    settings: Settings

    def __init__(self, settings: KindSection, learner: Learner, seed: int) -> None:
        super().__init__(settings, learner, seed)
        self.anchor: Mapping[str, Tensor] = {}

    def terms(self, phase: int, step: int) -> Sequence[Term]:
        return [WeightTerm(self.distance)] if self.anchor else []

    def distance(self, tensors: Mapping[str, Tensor]) -> Tensor:
        parts = [(tensors[name] - old).square().sum() for name, old in self.anchor.items()]
        total: Tensor = sum(parts[1:], parts[0])
        return 0.5 * self.settings.weight * total

    def at_switch(self, phase: int) -> None:
        self.anchor = {k: v.detach().clone() for k, v in self.learner.tensors().items()}

    def tensors(self) -> Mapping[str, Tensor]:
        return self.anchor

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.anchor = dict(tensors)
