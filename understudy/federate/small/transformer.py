"""A small transformer of pictures: the ViT kind, for pictures of any size."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import ConfigError
from understudy.federate.foundations.foundation import Inputs
from understudy.federate.small.attention import AttentionBlock
from understudy.federate.small.pictures import PIXELS, PictureNetwork

_PATCHES = 8  # along the longer side, where no size of a patch is given


class SmallTransformer(PictureNetwork):
    """Patches with fixed positions, blocks of attention, the mean over patches. patch: its side in
    pixels; where a picture is no multiple of it, zeros are added at the right and below."""

    def __init__(
        self, raw: Any, width: int = 64, blocks: int = 2, heads: int = 4, patch: int | None = None
    ) -> None:
        super().__init__(raw)
        if width % 4:
            raise ConfigError(f"small network: width={width} is no multiple of 4")
        self.width = width
        self.patch = patch or math.ceil(max(raw.shape[2:]) / _PATCHES)
        self.embedding = nn.Conv2d(self.channels, width, self.patch, self.patch)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs: Inputs) -> Tensor:
        x = inputs[PIXELS]
        down, right = (-side % self.patch for side in x.shape[2:])
        h = self.embedding(F.pad(x, (0, right, 0, down)))
        h = h + positions(h.shape[2], h.shape[3], self.width).to(h)
        h = h.flatten(2).mT
        for block in self.blocks:
            h = block(h)
        return self.norm(h).mean(dim=1)


def positions(rows: int, columns: int, width: int) -> Tensor:
    """(width, rows, columns): sines and cosines of a place, half of them for its row, half for its
    column."""
    quarter = width // 4
    frequency = 100.0 ** (-torch.arange(quarter) / quarter)
    down, right = (torch.arange(count)[None] * frequency[:, None] for count in (rows, columns))
    down = torch.cat([down.sin(), down.cos()])[:, :, None].expand(-1, -1, columns)
    right = torch.cat([right.sin(), right.cos()])[:, None].expand(-1, rows, -1)
    return torch.cat([down, right])
