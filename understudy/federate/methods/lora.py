"""Ordinary LoRA: one low-rank change of each adapted block, the same for all samples.

W z becomes W z + (alpha / rank) B A z, at the blocks and of the rank that Fed-LSCL's generator
makes matrices for. A linear head follows. The mean of clients' A and the mean of their B are not
the mean of their products B A.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
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

        from understudy.federate.heads import new_head

        settings: Any = common.config.method
        first, second = nn.ParameterDict(), nn.ParameterDict()
        for block in settings.blocks:
            target = common.foundation.target(block)
            limit = target.inputs**-0.5
            a = torch.empty(settings.rank, target.inputs).uniform_(-limit, limit)
            first[str(block)] = nn.Parameter(a)
            second[str(block)] = nn.Parameter(torch.zeros(sum(target.outputs), settings.rank))
        head = new_head(common.config, common.foundation.width, common.classes)
        return {"a": first, "b": second, "head": head}

    @property
    def likeness(self) -> Hashable | None:
        return self.form()

    def logits(self, examples: Examples) -> Tensor:
        from understudy.federate.generator import adapters_of

        count = examples.label.shape[-1]

        def of_all(name: str) -> Tensor:
            one = self.modules.get_parameter(name).unsqueeze(-3)
            return one.expand(*one.shape[:-3], count, -1, -1)

        matrices = {
            block: (of_all(f"a.{block}"), of_all(f"b.{block}")) for block in self.settings.blocks
        }
        adapters = adapters_of(matrices, self.settings.alpha)
        features = self.common.foundation.features(examples.inputs, adapters)
        found: Tensor = self.modules["head"](features)
        return found
