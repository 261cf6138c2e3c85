"""Inverted bottlenecks with depthwise convolutions: the MobileNet kind."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from understudy.federate.foundations.foundation import Inputs
from understudy.federate.small.pictures import PIXELS, PictureNetwork, normalised, stage_widths


class Depthwise(PictureNetwork):
    """Each stage after the first halves the picture and doubles the channels. expansion: how many
    times as many channels the depthwise convolution has."""

    def __init__(
        self, raw: Any, width: int = 96, stages: int = 3, blocks: int = 2, expansion: int = 4
    ) -> None:
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
                self.blocks.append(Inverted(before, channels, stride, expansion))
                before = channels

    def forward(self, inputs: Inputs) -> Tensor:
        h = F.silu(self.norm(self.stem(inputs[PIXELS])))
        for block in self.blocks:
            h = block(h)
        return h.mean(dim=(2, 3))


class Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.up = nn.Conv2d(inputs, inner, 1, bias=False)
        self.up_norm = normalised(inner)
        self.depth = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.depth_norm = normalised(inner)
        self.down = nn.Conv2d(inner, outputs, 1, bias=False)
        self.down_norm = normalised(outputs)
        self.keeps = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.up_norm(self.up(x)))
        h = F.silu(self.depth_norm(self.depth(h)))
        h = self.down_norm(self.down(h))
        return x + h if self.keeps else h
