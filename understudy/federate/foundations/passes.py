"""What happens inside a frozen model during a pass: blocks adapted, skipped, looked into.

Everything is put on once, when a model is loaded. A pass that asks for nothing finds the model as
it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from understudy.federate.adapted import raised, reduced
from understudy.federate.foundations.foundation import Adapter, Target


@dataclass(slots=True)
class Pass:
    """What one pass asks for.

    adapters: by block, one of each sample. start, given: the first block that is computed, and
    what it reads, (samples, tokens, width); stop: the first that is not computed any more. last:
    tokens that the first block reads after the sample's own. look: whether what every block reads
    is kept, in seen.
    """

    adapters: Mapping[int, Adapter] = field(default_factory=dict)
    start: int = 0
    given: Tensor | None = None
    stop: int | None = None
    last: Tensor | None = None
    look: bool = False
    seen: dict[int, Tensor] = field(default_factory=dict)
    low: tuple[Tensor, Tensor] | None = None  # the last input of an adapted layer, and A times it


class Passes:
    """The hooks of one model's blocks."""

    def __init__(
        self, model: nn.Module, blocks: Sequence[nn.Module], targets: Sequence[Target]
    ) -> None:
        self._now: Pass | None = None
        for number, (block, target) in enumerate(zip(blocks, targets, strict=True)):
            block.forward = partial(self._block, number, block.forward)
            start = 0
            for name, rows in zip(target.layers, target.outputs, strict=True):
                hook = partial(self._layer, number, slice(start, start + rows))
                model.get_submodule(name).register_forward_hook(hook)
                start += rows

    @contextmanager
    def during(self, asked: Pass) -> Iterator[Pass]:
        assert self._now is None, "a pass within a pass"
        self._now = asked
        try:
            yield asked
        finally:
            self._now = None

    def _block(self, number: int, forward: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """In place of a block's own forward: computes it, or gives on what it was given."""
        now = self._now
        if now is None:
            return forward(*args, **given)
        hidden: Tensor = args[0] if args else given["hidden_states"]
        if number == now.start and now.given is not None:
            hidden = now.given
        if number == 0 and now.last is not None:
            hidden = torch.cat([hidden, now.last], dim=1)
        if now.look or number == now.stop:
            now.seen[number] = hidden
        if number < now.start or (now.stop is not None and number >= now.stop):
            return hidden
        if args:
            return forward(hidden, *args[1:], **given)
        return forward(**(given | {"hidden_states": hidden}))

    def _layer(
        self, number: int, rows: slice, layer: nn.Module, args: tuple[Any, ...], output: Tensor
    ) -> Tensor | None:
        """W z + B A z for every sample: A z is computed once for the layers that read the same."""
        now = self._now
        adapter = now.adapters.get(number) if now is not None else None
        if now is None or adapter is None:
            return None
        z: Tensor = args[0]
        if now.low is None or now.low[0] is not z:
            now.low = z, reduced(z, adapter.a.to(z.dtype))
        return raised(output, now.low[1], adapter.b[:, rows].to(z.dtype), adapter.scale)
