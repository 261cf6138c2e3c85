"""A method of your own for federations: FedProx of a linear head on frozen features.

understudy federate --set method=examples/extend/federated.py:ProximalHead
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from understudy.federate.client_tasks import Examples
from understudy.federate.methods.method import Batch, Common, Method, Own, Shapes
from understudy.federate.methods.settings import MethodSettings


class ProximalHead(Method):
    class Settings(MethodSettings):
        mu: float = Field(0.1, ge=0, description="weight of the pull towards the last mean")

    returned = ("head",)  # the kinds of messages that come back as they were sent
    remembered = ("mean",)  # what a checkpoint keeps, beside the modules

    def __init__(self, settings: Any, common: Common, own: Own) -> None:
        super().__init__(settings, common, own)
        head = nn.Linear(common.foundation.width, common.classes)
        nn.init.zeros_(head.weight)  # all clients begin alike
        nn.init.zeros_(head.bias)
        self.modules = nn.ModuleDict({"head": head})
        self.mean: dict[str, Tensor] = {}

    def logits(self, examples: Examples) -> Tensor:
        features = self.common.foundation.features(examples.inputs)
        return self.modules["head"](features)

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        weights = self.modules["head"].named_parameters()
        moved = [(each - self.mean[name]).square().sum() for name, each in weights if self.mean]
        pull = {"proximal": self.settings.mu / 2 * torch.stack(moved).sum()} if moved else {}
        return {**super().terms(batch), **pull}

    def upload(self, round_: int) -> Mapping[str, Mapping[str, Tensor]]:
        return {"head": {n: each.clone() for n, each in self.modules["head"].state_dict().items()}}

    def receive(self, kind: str, arrays: Mapping[str, Tensor]) -> None:
        self.mean = dict(arrays)
        self.modules["head"].load_state_dict(self.mean)

    @classmethod
    def uploads(cls, common: Common) -> Mapping[str, Shapes]:
        return {
            "head": {"weight": (common.classes, common.foundation.width), "bias": (common.classes,)}
        }

    @classmethod
    def leaving(cls, settings: Any) -> Sequence[str]:
        return ["After each round, a client sends its head."]
