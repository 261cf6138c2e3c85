"""Ordinary LoRA: one low-rank change of each adapted block, the same for all samples.

W z becomes W z + (alpha / rank) B A z, at the blocks and of the rank that Fed-LSCL's generator
makes matrices for. A linear head follows. The mean of clients' A and the mean of their B are not
the mean of their products B A.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from understudy.federate.methods.averaged import Averaged
from understudy.federate.methods.method import Common
from understudy.federate.methods.settings import AdaptedSettings, AveragedSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from understudy.federate.client_tasks import Examples
    from understudy.federate.small.network import SmallNetwork


class Lora(Averaged):
    class Settings(AveragedSettings, AdaptedSettings):
        """Those of FedProx and of low-rank matrices."""

    sent = "its low-rank matrices and its head"

    @classmethod
    def new_modules(
        cls, common: Common, small: Callable[[], SmallNetwork] | None
    ) -> Mapping[str, nn.Module]:
        import torch
        from torch import nn

        settings: Any = common.config.method
        first, second = nn.ParameterDict(), nn.ParameterDict()
        for block in settings.blocks:
            target = common.foundation.target(block)
            limit = target.inputs**-0.5
            a = torch.empty(settings.rank, target.inputs).uniform_(-limit, limit)
            first[str(block)] = nn.Parameter(a)
            second[str(block)] = nn.Parameter(torch.zeros(sum(target.outputs), settings.rank))
        head = nn.Linear(common.foundation.width, common.classes)
        return {"a": first, "b": second, "head": head}

    def logits(self, examples: Examples) -> Tensor:
        from understudy.federate.generator import adapters_of

        count = len(examples)
        first, second = (dict(self.modules[name].items()) for name in ("a", "b"))  # type: ignore[operator]
        matrices = {
            block: (
                first[str(block)].expand(count, -1, -1),
                second[str(block)].expand(count, -1, -1),
            )
            for block in self.settings.blocks
        }
        adapters = adapters_of(matrices, self.settings.alpha)
        features = self.common.foundation.features(examples.inputs, adapters)
        found: Tensor = self.modules["head"](features)
        return found
