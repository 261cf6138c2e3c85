"""A retention that keeps the trained tensors of every phase, and answers each task with its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from understudy.retention.retention import Learner, Retention
from understudy.settings import KindSection


class PerPhase(Retention):
    def __init__(self, settings: KindSection, learner: Learner, seed: int) -> None:
        super().__init__(settings, learner, seed)
        self.kept: dict[int, dict[str, Tensor]] = {}

    def at_switch(self, phase: int) -> None:
        self.kept[phase] = {k: v.detach().clone() for k, v in self.learner.tensors().items()}

    def answering(self, phases: Sequence[int]) -> Mapping[str, Tensor]:
        return next((self.kept[each] for each in reversed(phases) if each in self.kept), {})

    def tensors(self) -> Mapping[str, Tensor]:
        return {f"{n} {k}": v for n, kept in self.kept.items() for k, v in kept.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.kept = {}
        for key, tensor in tensors.items():
            number, _, name = key.partition(" ")
            self.kept.setdefault(int(number), {})[name] = tensor
