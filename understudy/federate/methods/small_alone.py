"""The small network without the frozen one: what the large model is worth.

The same small network and projection as Fed-LSCL's, and a linear head on the projected features.
Where all clients have the same kind its weights can be averaged; else every client learns alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.federate.methods.averaged import Averaged
from understudy.federate.methods.method import Common
from understudy.federate.methods.settings import AveragedSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from understudy.federate.client_tasks import Examples
    from understudy.federate.settings import FederateConfig
    from understudy.federate.small.network import SmallNetwork


class SmallAlone(Averaged):
    class Settings(AveragedSettings):
        small: ClassVar[bool] = True

        def check(self, config: FederateConfig) -> None:
            super().check(config)
            if config.serving.kind == "none":
                return
            if len(set(config.smalls)) > 1:
                raise ValueError(
                    f"method.kind=small_alone averages the weights of small networks, but "
                    f"small={config.smalls} are of different kinds; set server=none, or one kind"
                )
            if config.own_data:
                raise ValueError(
                    "method.kind=small_alone averages the weights of small networks, but every "
                    "client has data of its own, so the server knows no shape of one; set "
                    "server=none"
                )

    sent = "all weights of its small network, its projection and its head"

    @classmethod
    def new_modules(
        cls, common: Common, small: Callable[[], SmallNetwork] | None
    ) -> Mapping[str, nn.Module]:
        from torch import nn

        from understudy.federate.heads import new_head

        assert small is not None
        network, width = small(), common.config.feature_width
        return {
            "small": network,
            "projection": nn.Linear(network.width, width),
            "head": new_head(common.config, width, common.classes),
        }

    @property
    def likeness(self) -> Hashable | None:
        small: Any = self.modules["small"]
        return self.form() if small.stacks else None

    def logits(self, examples: Examples) -> Tensor:
        h = self.modules["projection"](self.modules["small"](examples.small))
        found: Tensor = self.modules["head"](h)
        return found
