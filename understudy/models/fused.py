"""Layers while rows are drawn in bfloat16, or adapters trained: cast once, and those that read the
same one product, with the adapters of all of them beside it.

An adapter is not folded into the weights: its changes are smaller than bfloat16 rounds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models.ask_head import AskHead
from understudy.models.decoder import Decoder, SideBySide
from understudy.models.product import Product, can_pack

_LAYERS = ("qkv", "o_proj", "gate_up", "down_proj")
# From so many calls on weights are packed, and up to so many bytes of them: no more than training
# keeps of a pass anyway.
_CALLS, _PACKED = 32, 1 << 30


class Joined(nn.Module):
    """Linear layers that read the same, with or without adapters, in one type.

    Its submodules and their parameters have the names that they have in the layer it stands for.
    """

    product: Product

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        for name, child in layer.named_children():
            self.add_module(name, child)
        self.dtype, self.layers = dtype, _layers(layer)
        self.bases = [getattr(each, "base_layer", each) for each in self.layers]
        self.weights = [base.weight for base in self.bases]
        biases = [base.bias for base in self.bases]
        self.bias = None if biases[0] is None else _joined(biases, dtype)
        self.down, self.up = self.adapters()

    def adapters(self) -> tuple[Tensor | None, Tensor | None]:
        """The first matrices of the adapters one below the other, and the second ones, each in the
        rows of its layer and the columns of its first."""
        adapted = [layer for layer in self.layers if is_adapted(layer)]
        if not adapted:
            return None, None
        downs = [layer.lora_A["default"].weight for layer in adapted]
        ups = [
            layer.lora_B["default"].weight * layer.scaling["default"]
            if is_adapted(layer)
            else base.weight.new_zeros(len(base.weight), 0)
            for layer, base in zip(self.layers, self.bases, strict=True)
        ]
        return torch.cat(downs).to(self.dtype), torch.block_diag(*ups).to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2).to(self.dtype)
        found = self.product(flat)
        if self.down is not None and self.up is not None:
            found = torch.addmm(found, F.linear(flat, self.down), self.up.t())
        return found.unflatten(0, x.shape[:-1])


class Fused(Joined):
    """Such layers as they are now, without a gradient.

    Where their weights are copied anyway, the adapters' second matrices stand beside them: one
    product reads what layers read and what the first matrices make of it.
    """

    def __init__(self, layer: nn.Module, dtype: torch.dtype, pack: bool = False) -> None:
        super().__init__(layer, dtype)
        self.first: Product | None = None
        weight = _joined(self.weights, dtype)
        copied = pack or not _as_they_are(self.weights, dtype)
        if self.down is not None and self.up is not None and copied:
            self.first = Product(self.down, None, pack)
            weight = torch.cat((weight, self.up), dim=1)
        self.product = Product(weight, self.bias, pack)

    def forward(self, x: Tensor) -> Tensor:
        if self.first is None:
            return super().forward(x)
        x = x.to(self.dtype)
        return self.product(torch.cat((x, self.first(x)), dim=-1))


class Trained(Joined):
    """Such layers with a gradient of the adapters, which may change from call to call."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__(layer, dtype)
        self.product = Product(_joined(self.weights, dtype), self.bias, pack=False)

    def forward(self, x: Tensor) -> Tensor:
        self.down, self.up = self.adapters()
        return super().forward(x)


class FusedHead(nn.Module):
    """A head in one type, without a gradient."""

    def __init__(self, head: nn.Linear, dtype: torch.dtype, pack: bool) -> None:
        super().__init__()
        self.head, self.dtype = head, dtype
        bias = None if head.bias is None else head.bias.detach().to(dtype)
        self.product = Product(head.weight.detach().to(dtype), bias, pack)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.product(x.to(self.dtype))
        return self.head.led(logits, x) if isinstance(self.head, AskHead) else logits


def _layers(layer: nn.Module) -> list[Any]:
    return list(layer.children()) if isinstance(layer, SideBySide) else [layer]


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
def fused(model: Decoder, dtype: torch.dtype, calls: int) -> Iterator[None]:
    """While this is open, without a gradient, layers of the blocks are cast and joined, and the
    head is cast: only where autocast would cast what they read at every call.

    calls: so many of each layer.
    """
    size = sum(weight.numel() for weight in model.parameters()) * dtype.itemsize
    pack = calls >= _CALLS and size <= _PACKED and can_pack(model.head.weight.device, dtype)
    before: list[tuple[nn.Module, str, nn.Module]] = [(model, "head", model.head)]
    try:
        for block, name, layer in _joinable(model):
            before.append((block, name, layer))
            setattr(block, name, Fused(layer, dtype, pack))
        model.head = FusedHead(model.head, dtype, pack)  # type: ignore[assignment]
        yield
    finally:
        for owner, name, layer in before:
            setattr(owner, name, layer)


@contextmanager
def trained(model: Decoder, dtype: torch.dtype) -> Iterator[set[nn.Module]]:
    """While this is open, layers of the blocks with adapters are cast and joined, with a gradient
    of the adapters; which layers these are."""
    before: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        joined: set[nn.Module] = set()
        for block, name, layer in _joinable(model):
            if any(map(is_adapted, _layers(layer))):
                before.append((block, name, layer))
                found = Trained(layer, dtype)
                joined |= {*found.bases}
                setattr(block, name, found)
        yield joined
    finally:
        for owner, name, layer in before:
            setattr(owner, name, layer)


def _joinable(model: Decoder) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Layers, each with its block and its name there, that are not joined already."""
    for block in model.blocks:
        for name in _LAYERS:
            layer: nn.Module = getattr(block, name)
            if not isinstance(layer, Joined) and all(map(_plain, _layers(layer))):
                yield block, name, layer
