"""Attention of many rows to keys that all of them share, and to their own.

Some queries are computed at a time: only for their rows are the shared keys copied, and no weights
over keys are kept for the backward pass, which computes them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Weights of attention that are held at once: few enough for the cache of a CPU, in float32; on a
# GPU as many as fill it.
WEIGHTS = {"cpu": 1 << 19, "cuda": 1 << 26}


def attend_after(
    q: Tensor, shared: tuple[Tensor, Tensor], k: Tensor, v: Tensor, visible: Tensor
) -> Tensor:
    """Softmax attention to a prefix, which every query sees, and to the own row where visible.

    q: (rows, heads, positions, head size); shared: keys and values (key-value heads, prefix
    positions, head size); k, v: (rows, key-value heads, positions, head size); visible: (rows, 1,
    positions, positions), of earlier positions only. Products are in the type of `v`.
    """
    attended: Tensor = _AttendAfter.apply(q, *shared, k, v, visible)  # type: ignore[no-untyped-call]
    return attended


class _AttendAfter(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        before_k: Tensor,
        before_v: Tensor,
        k: Tensor,
        v: Tensor,
        visible: Tensor,
    ) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):
            attended = _Attention(q, before_k, before_v, k, v, visible).read()
        ctx.save_for_backward(q, before_k, before_v, k, v, visible)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            found = _Attention(*given).gradients(gradient)
        return *(new.to(old.dtype) for new, old in zip(found, given, strict=False)), None


class _Attention:
    """Queries are (rows, key-value heads, queries per head, positions, head size)."""

    def __init__(
        self, q: Tensor, before_k: Tensor, before_v: Tensor, k: Tensor, v: Tensor, visible: Tensor
    ) -> None:
        size = q.shape[3]
        self.dtype, self.scale, self.visible = v.dtype, size**-0.5, visible
        self.wide = torch.promote_types(v.dtype, torch.float32)
        self.q = (q * self.scale).to(v.dtype).unflatten(1, (k.shape[1], -1))
        self.before_k, self.before_v = before_k.to(v.dtype), before_v.to(v.dtype)
        self.k, self.v = k.to(v.dtype), v

    def parts(self) -> Iterator[tuple[slice, slice]]:
        """Rows and positions that are computed at once."""
        rows, kv, group, positions, _ = self.q.shape
        keys = positions + self.before_k.shape[1]
        weights = WEIGHTS.get(self.q.device.type, 1 << 26) // (kv * group * keys)  # of a query
        few = max(1, weights // positions)  # rows
        some = max(16, weights) if few == 1 else positions
        for row in range(0, rows, few):
            for first in range(0, positions, some):
                yield slice(row, row + few), slice(first, min(first + some, positions))

    def weights(self, rows: slice, at: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (rows, heads, queries, size), the keys that they may see, (rows, heads, keys,
        size), and the weights of these, (rows, heads, queries, keys)."""
        q = self.q[rows, :, :, at].flatten(2, 3)
        keys = self.behind(self.before_k, self.k[rows, :, : at.stop])
        scores = (q @ keys.transpose(2, 3)).to(self.wide)
        hidden = ~self.visible[rows, :, at, : at.stop]
        own = scores.unflatten(2, (self.q.shape[2], -1))[..., self.before_k.shape[1] :]
        own.masked_fill_(hidden[:, :, None], float("-inf"))
        return q, keys, scores.softmax(dim=-1)

    def behind(self, before: Tensor, own: Tensor) -> Tensor:
        """What is before all rows, and then their own."""
        return torch.cat((before.expand(len(own), -1, -1, -1), own), dim=2)

    def read(self) -> Tensor:
        """What is attended to: (rows, heads, positions, size)."""
        attended = torch.empty_like(self.q)
        for rows, at in self.parts():
            _, _, weights = self.weights(rows, at)
            values = self.behind(self.before_v, self.v[rows, :, : at.stop])
            part = attended[rows, :, :, at]
            part.copy_((weights.to(self.dtype) @ values).view(part.shape))
        return attended.flatten(1, 2)

    def gradients(self, gradient: Tensor) -> list[Tensor]:
        """Of queries, the prefix's keys and values, and the own ones."""
        to_q, first = torch.empty_like(self.q, dtype=self.wide), self.before_k.shape[1]
        to_before = [torch.zeros_like(self.before_k, dtype=self.wide) for _ in range(2)]
        to_own = [torch.zeros_like(self.k, dtype=self.wide) for _ in range(2)]
        per_head = gradient.to(self.dtype).view(self.q.shape)
        for rows, at in self.parts():
            q, keys, weights = self.weights(rows, at)
            grad = per_head[rows, :, :, at].flatten(2, 3)
            values = self.behind(self.before_v, self.v[rows, :, : at.stop])
            slope = (grad @ values.transpose(2, 3)).to(self.wide)
            slope = torch._softmax_backward_data(slope, weights, -1, self.wide).to(self.dtype)
            part = to_q[rows, :, :, at]
            part.copy_((slope @ keys).view(part.shape)).mul_(self.scale)
            for to, found in enumerate(
                (slope.transpose(2, 3) @ q, weights.to(self.dtype).transpose(2, 3) @ grad)
            ):
                to_before[to] += found[:, :, :first].sum(dim=0, dtype=self.wide)
                to_own[to][rows, :, : at.stop] += found[:, :, first:]
        return [to_q.flatten(1, 2), *to_before, *to_own]
