"""Networks as a user may write them, good ones and bad ones, for the setting `net`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from understudy.share.nets.own import OwnNet


class Plain(OwnNet):
    """The built-in mlp, written with torch's own layers."""

    def __init__(self, inputs: int = 64, width: int = 8, seed: int = 0, vmaps: bool = True) -> None:
        self.vmaps, self.width, self.entered = vmaps, width, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.map = nn.Linear(inputs, width)

    def module(self) -> nn.Module:
        return nn.Sequential(nn.Linear(self.width, self.width), nn.ReLU())

    def entrance(self, x: Tensor) -> Tensor:
        self.entered += len(x)
        return self.map(x.flatten(1))


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1))

    def forward(self, h: Tensor) -> Tensor:
        return h * self.scale


class Residual(OwnNet):
    """Two layers h <- 3 h + scale * (h + 1) of positions, of which the last is seen."""

    layers = 2

    def module(self) -> nn.Module:
        return Scale()

    def before(self, layer: int, h: Tensor) -> tuple[Tensor | float, Tensor]:
        return 3 * h, h + 1

    def features(self, h: Tensor) -> Tensor:
        return h[:, -1]


class Convolution(OwnNet):
    """Pictures that keep their size, normalised within each instance."""

    layers = 2

    def module(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.GELU())

    def entrance(self, x: Tensor) -> Tensor:
        return x[:, None].repeat(1, 4, 1, 1)

    def before(self, layer: int, h: Tensor) -> tuple[Tensor | float, Tensor]:
        return h, h

    def features(self, h: Tensor) -> Tensor:
        return h.mean(dim=(2, 3))


class Words(Plain):
    """Takes whole numbers, of which it knows those below 9."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 1)

    def entrance(self, x: Tensor) -> Tensor:
        return super().entrance(self.table(x).squeeze(-1))


class _Bad(Plain):
    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.layers = 0 if fault == "no layers" else 4

    def module(self) -> Any:
        return {
            "other shape": nn.Linear(8, 5),
            "no parameters": nn.ReLU(),
            "no module": [nn.Linear(8, 8)],
            "double": nn.Linear(8, 8).double(),
            "batched": Unvmappable(),
        }.get(self.fault, nn.Linear(8, 8))

    def entrance(self, x: Tensor) -> Any:
        entered = super().entrance(x)
        if self.fault == "raises":
            raise ValueError("no such\nweights")
        if self.fault == "text":
            return "text"
        return {"nan": entered * torch.nan, "one row": entered[:1], "whole": entered.long()}.get(
            self.fault, entered
        )

    def before(self, layer: int, h: Tensor) -> tuple[Tensor | float, Tensor]:
        return (h[:, :2], h) if self.fault == "other base" else (0.0, h)

    def features(self, h: Tensor) -> Tensor:
        return h[..., None] if self.fault == "features" else h


class Unvmappable(nn.Linear):
    def __init__(self) -> None:
        super().__init__(8, 8)

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h) if float(h.sum()) > 0 else super().forward(-h)


def plain(**options: Any) -> OwnNet:
    return Plain(**options)


def residual() -> OwnNet:
    return Residual()


def convolution() -> OwnNet:
    return Convolution()


def words() -> OwnNet:
    return Words()


def bad(fault: str) -> Any:
    return "no net" if fault == "no net" else _Bad(fault)
