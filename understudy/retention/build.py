"""The retention that settings describe, or several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from understudy.retention import RETENTIONS
from understudy.retention.kl import Kl
from understudy.retention.retention import Learner, Retention
from understudy.settings import KindSection

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from understudy.objectives.terms import Term
    from understudy.types import Example


class Combined(Retention):
    """Several at once."""

    def __init__(self, parts: Sequence[Retention]) -> None:
        self.parts = parts
        self.wants_examples = any(part.wants_examples for part in parts)

    def optimiser(self, learning_rate: float) -> Optimizer | None:
        return next(filter(None, (part.optimiser(learning_rate) for part in self.parts)), None)

    def terms(self, phase: int, step: int) -> Sequence[Term]:
        return [term for part in self.parts for term in part.terms(phase, step)]

    def after_step(self, phase: int, step: int, verified: Sequence[Example]) -> None:
        for part in self.parts:
            part.after_step(phase, step, verified)

    def at_switch(self, phase: int) -> None:
        for part in self.parts:
            part.at_switch(phase)

    def answering(self, phases: Sequence[int]) -> Mapping[str, Tensor]:
        parts = (part.answering(phases) for part in self.parts)
        return {name: tensor for part in parts for name, tensor in part.items()}

    def tensors(self) -> Mapping[str, Tensor]:
        return {
            f"{number}.{name}": tensor
            for number, part in enumerate(self.parts)
            for name, tensor in part.tensors().items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for number, part in enumerate(self.parts):
            mark = f"{number}."
            own = {k.removeprefix(mark): v for k, v in tensors.items() if k.startswith(mark)}
            part.restore(own)


def build_retention(section: KindSection, beta: float, learner: Learner, seed: int) -> Retention:
    """The retention that the settings describe; beta above 0 adds the KL to any kind."""
    parts: list[Retention] = []
    if section.kind not in ("none", "kl"):
        parts.append(RETENTIONS.make(section.kind, section, learner, seed))
    if beta > 0:
        parts.append(Kl(section, learner, seed, beta))
    return parts[0] if len(parts) == 1 else Combined(parts)
