"""Layers as they are while rows are drawn in bfloat16: cast once, and those that read the same one
product, with the adapters of all of them beside it.

An adapter is not folded into the weights: its changes are smaller than bfloat16 rounds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models.decoder import Decoder, SideBySide

_LAYERS = ("qkv", "o_proj", "gate_up", "down_proj")


class Fused(nn.Module):
    """Linear layers that read the same, with or without adapters, in one type."""

    def __init__(self, layers: Sequence[Any], dtype: torch.dtype) -> None:
        super().__init__()
        bases = [getattr(layer, "base_layer", layer) for layer in layers]
        self.dtype = dtype
        weights, biases = [base.weight for base in bases], [base.bias for base in bases]
        downs = [layer.lora_A["default"].weight for layer in layers if is_adapted(layer)]
        self.up = self.down = None
        if downs:
            self.up = _joined_ups(layers, [len(weight) for weight in weights], dtype)
        if downs and _as_they_are(weights, dtype):
            self.down = _joined(downs, dtype)
        elif downs:  # copied anyway: one product gives what the adapters read, too
            weights += downs
            if biases[0] is not None:
                biases.append(biases[0].new_zeros(sum(map(len, downs))))
        self.weight = _joined(weights, dtype)
        self.bias = None if biases[0] is None else _joined(biases, dtype)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2).to(self.dtype)
        found = F.linear(flat, self.weight, self.bias)
        if self.up is not None:
            rows = len(self.up)
            low = found[:, rows:] if self.down is None else F.linear(flat, self.down)
            found = torch.addmm(found[:, :rows], low, self.up.t())
        return found.unflatten(0, x.shape[:-1])


def _joined_ups(layers: Sequence[Any], sizes: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The second matrices of the adapters of some layers of these many rows, each in its own rows
    and columns."""
    ups = [
        layer.lora_B["default"].weight.detach() * layer.scaling["default"]
        if is_adapted(layer)
        else layer.weight.new_zeros(size, 0)
        for layer, size in zip(layers, sizes, strict=True)
    ]
    return torch.block_diag(*ups).to(dtype)


def is_adapted(layer: nn.Module) -> bool:
    return hasattr(layer, "lora_A")


def _plain(layer: Any) -> bool:
    """Whether a layer has no more than one adapter of two matrices, which is in use."""
    if not is_adapted(layer):
        return isinstance(layer, nn.Linear)
    used = list(layer.active_adapters) == ["default"] == list(layer.lora_A)
    return used and not (layer.disable_adapters or layer.merged or layer.lora_variant)


def _joined(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Tensors one after the other in a type; no copy where they lie so in memory."""
    parts = [part.detach() for part in parts]
    first, shape = parts[0], (sum(map(len, parts)), *parts[0].shape[1:])
    if _as_they_are(parts, dtype):
        return first.as_strided(shape, first.stride())
    found = first.new_empty(shape, dtype=dtype)
    for place, part in zip(found.split([len(part) for part in parts]), parts, strict=True):
        place.copy_(part)
    return found


def _as_they_are(parts: Sequence[Tensor], dtype: torch.dtype) -> bool:
    """Whether tensors lie one after the other in memory, in a type."""
    ends = [part.data_ptr() + part.numel() * part.element_size() for part in parts]
    one = len({part.untyped_storage().data_ptr() for part in parts}) == 1
    follow = all(part.data_ptr() == end for part, end in zip(parts[1:], ends, strict=False))
    lie_so = one and follow and all(part.is_contiguous() for part in parts)
    return lie_so and parts[0].dtype == dtype


@contextmanager
def fused(model: Decoder, device: torch.device) -> Iterator[None]:
    """While this is open, layers of the blocks are cast and joined: without a gradient only, and
    only where autocast would keep a cast of each anyway, and cast at every call what they read."""
    if not torch.is_autocast_enabled(device.type):
        yield
        return
    dtype = torch.get_autocast_dtype(device.type)
    before: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for block in model.blocks:
            for name in _LAYERS:
                layer: nn.Module = getattr(block, name)
                layers = list(layer.children()) if isinstance(layer, SideBySide) else [layer]
                if all(map(_plain, layers)):
                    before.append((block, name, layer))
                    setattr(block, name, Fused(layers, dtype))
        yield
    finally:
        for owner, name, layer in before:
            setattr(owner, name, layer)
