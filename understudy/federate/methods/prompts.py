"""A pool of prompts, of which every sample gets those whose keys are nearest (as L2P, 2112.08654).

    q = frozen(x)                              features without prompts
    chosen = the keys most alike q by cosine   `chosen` of `pool`
    logits = head(frozen(x; tokens of the chosen prompts beside x's own))
    loss = cross-entropy + key_weight * mean of (1 - cosine(q, key)) over the chosen

Ours pools the frozen network's own way; L2P takes the mean over the prompts' tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from understudy.errors import ConfigError
from understudy.federate.methods.averaged import Averaged
from understudy.federate.methods.method import Batch, Common
from understudy.federate.methods.settings import AveragedSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from understudy.federate.client_tasks import Examples
    from understudy.federate.small.network import SmallNetwork

_DEVIATION = 0.02  # of the first weights, as a ViT's own tokens have


class Prompts(Averaged):
    class Settings(AveragedSettings):
        pool: int = Field(10, ge=1, description="prompts that there are")
        chosen: int = Field(4, ge=1, description="prompts that a sample gets")
        length: int = Field(4, ge=1, description="tokens of a prompt")
        key_weight: float = Field(
            0.5, ge=0, description="of the pull of chosen keys towards the sample's features"
        )

        @model_validator(mode="after")
        def _enough(self) -> Prompts.Settings:
            if self.chosen > self.pool:
                raise ValueError(f"chosen={self.chosen} of pool={self.pool} prompts; use fewer")
            return self

    sent = "its prompts, their keys and its head"

    @classmethod
    def new_modules(
        cls, common: Common, small: Callable[[], SmallNetwork] | None
    ) -> Mapping[str, nn.Module]:
        import torch
        from torch import nn

        from understudy.federate.heads import new_head

        settings: Any = common.config.method
        foundation = common.foundation
        tokens = torch.randn(settings.pool, settings.length, foundation.token_width)
        keys = torch.randn(settings.pool, foundation.width)
        pool = {"tokens": _DEVIATION * tokens, "key": _DEVIATION * keys}
        return {
            "prompts": nn.ParameterDict({name: nn.Parameter(each) for name, each in pool.items()}),
            "head": new_head(common.config, foundation.width, common.classes),
        }

    @classmethod
    def check(cls, common: Common) -> None:
        import inspect

        foundation: Any = common.foundation
        lacking = [] if hasattr(foundation, "token_width") else ["token_width"]
        if "prompts" not in inspect.signature(foundation.features).parameters:
            lacking.append("features(..., prompts=tokens)")
        if lacking:
            raise ConfigError(
                f"foundation={common.config.foundation.name}: method.kind=prompts needs "
                f"{' and '.join(lacking)} of it; see "
                "understudy.federate.foundations.foundation.Foundation, or use another method"
            )

    def logits(self, examples: Examples) -> Tensor:
        return self._answered(examples)[0]

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        from understudy.federate.losses import masked_cross_entropy

        logits, distance = self._answered(batch.examples)
        task = masked_cross_entropy(logits, batch.examples.label, batch.allowed)
        return {"task": task, "keys": self.settings.key_weight * distance, **self.beside(batch)}

    def _answered(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """(logits, the mean distance of the chosen keys)."""
        import torch

        foundation, pool = self.common.foundation, self.modules["prompts"]
        with torch.no_grad():
            query = foundation.features(examples.inputs)
        alike, places = nearest(query, pool.get_parameter("key"), self.settings.chosen)
        tokens = pool.get_parameter("tokens")[places].flatten(1, 2)
        features = foundation.features(examples.inputs, prompts=tokens)
        found: Tensor = self.modules["head"](features)
        return found, (1 - alike).mean()


def nearest(query: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(cosines, places), (n, count) each, of the keys most alike each query.

    query: (n, width); keys: (pool, width).
    """
    from torch.nn import functional as F

    alike = F.normalize(query, dim=1) @ F.normalize(keys, dim=1).mT
    found, places = alike.topk(count, dim=1)
    return found, places
