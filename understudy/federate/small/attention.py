"""A transformer's block, for small networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import ConfigError


class AttentionBlock(nn.Module):
    """Attention, then two linear layers, each added to what it read; normalised before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"small network: width={width} is no multiple of heads={heads}")
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """h: (n, tokens, width); mask: (n, tokens), true where a token is real."""
        q, k, v = (
            each.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for each in self.qkv(self.first(h)).chunk(3, dim=2)
        )
        # Written out: torch's own function is slow under vmap, with which clients are joined.
        weight = q @ k.mT * q.shape[-1] ** -0.5
        if mask is not None:
            weight = weight.masked_fill(~mask[:, None, None], -torch.inf)
        read = weight.softmax(dim=-1) @ v
        h = h + self.out(read.transpose(1, 2).flatten(2))
        return h + self.down(F.gelu(self.up(self.second(h))))
