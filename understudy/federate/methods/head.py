"""A linear head on frozen features: the cheapest rival.

The foundation never changes, so the features of every sample are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from understudy.federate.methods.averaged import Averaged
from understudy.federate.methods.method import Common, Own

if TYPE_CHECKING:
    from torch import Tensor, nn

    from understudy.federate.client_tasks import Examples
    from understudy.federate.small.network import SmallNetwork

_FEATURES = "features"


class Head(Averaged):
    sent = "the weights of its head"

    def __init__(self, settings: Any, common: Common, own: Own) -> None:
        known: dict[int, Examples] = {}  # tasks of one client may have the same samples

        def once(examples: Examples) -> Examples:
            if id(examples) not in known:
                known[id(examples)] = _with_features(common, examples)
            return known[id(examples)]

        tasks = [replace(t, train=once(t.train), test=once(t.test)) for t in own.tasks]
        super().__init__(settings, common, replace(own, tasks=tasks))

    @classmethod
    def new_modules(
        cls, common: Common, small: Callable[[], SmallNetwork] | None
    ) -> Mapping[str, nn.Module]:
        from understudy.federate.heads import new_head

        return {"head": new_head(common.config, common.foundation.width, common.classes)}

    @property
    def likeness(self) -> Hashable | None:
        return self.form()

    def logits(self, examples: Examples) -> Tensor:
        found: Tensor = self.modules["head"](examples.inputs[_FEATURES])
        return found


def _with_features(common: Common, examples: Examples, chunk: int = 256) -> Examples:
    """Their frozen features in place of the foundation's inputs."""
    import torch

    parts = [torch.zeros(0, common.foundation.width)]
    with torch.no_grad():
        for first in range(0, len(examples), chunk):
            some = examples.rows(slice(first, first + chunk))
            parts.append(common.foundation.features(some.inputs))
    return replace(examples, inputs={_FEATURES: torch.cat(parts)})
