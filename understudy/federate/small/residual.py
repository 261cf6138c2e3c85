"""Convolutions with residual connections: the ResNet kind, small enough for a device.

With width=512, stages=4 and blocks=2 it is a ResNet-18, but for the first layers, which keep small
pictures whole, and the normalisation, which is over groups of channels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from understudy.federate.foundations.foundation import Inputs
from understudy.federate.small.pictures import PIXELS, PictureNetwork, normalised, stage_widths


class Residual(PictureNetwork):
    """Each stage after the first halves the picture and doubles the channels."""

    def __init__(self, raw: Any, width: int = 128, stages: int = 3, blocks: int = 1) -> None:
        super().__init__(raw)
        widths = stage_widths(width, stages)
        self.width = width
        self.stem = nn.Conv2d(self.channels, widths[0], 3, padding=1, bias=False)
        self.norm = normalised(widths[0])
        self.blocks = nn.ModuleList()
        before = widths[0]
        for stage, channels in enumerate(widths):
            for number in range(blocks):
                stride = 2 if stage and not number else 1
                self.blocks.append(Block(before, channels, stride))
                before = channels

    def forward(self, inputs: Inputs) -> Tensor:
        h = F.relu(self.norm(self.stem(inputs[PIXELS])))
        for block in self.blocks:
            h = block(h)
        return h.mean(dim=(2, 3))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = normalised(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = normalised(outputs)
        changes = stride > 1 or inputs != outputs
        self.beside = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first_norm(self.first(x)))
        h = self.second_norm(self.second(h))
        return F.relu(h + (x if self.beside is None else self.beside(x)))
