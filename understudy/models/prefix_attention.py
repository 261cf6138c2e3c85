"""Attention of many rows to keys that all of them share, and to their own.

Neither the shared keys are copied for every row, nor are weights of queries over keys kept for the
backward pass, which computes them again, some queries at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Weights of attention that are held at once: few enough for the cache of a CPU, in float32; on a
# GPU as many as fill it.
WEIGHTS = {"cpu": 1 << 18, "cuda": 1 << 26}


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
            attended, totals = _Attention(q, before_k, before_v, k, v, visible).read()
        ctx.save_for_backward(q, before_k, before_v, k, v, visible, attended, totals)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *given, attended, totals = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            found = _Attention(*given).gradients(gradient, attended, totals)
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

    def scores(self, rows: slice, at: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (rows, heads, queries, size), their scores of the prefix's keys, (heads, rows *
        queries, prefix positions), and those of their own, (rows, heads, queries, positions)."""
        q = self.q[rows, :, :, at].flatten(2, 3)
        before = _side_by_side(q) @ self.before_k.transpose(1, 2)
        own = (q @ self.k[rows, :, : at.stop].transpose(2, 3)).to(self.wide)
        hidden = ~self.visible[rows, :, at, : at.stop]
        own.unflatten(2, (self.q.shape[2], -1)).masked_fill_(hidden[:, :, None], float("-inf"))
        return q, before.to(self.wide), own

    def read(self) -> tuple[Tensor, Tensor]:
        """What is attended to (rows, heads, positions, size), and the log of all exponentials."""
        attended = torch.empty_like(self.q)
        totals = torch.empty(self.q.shape[:4], dtype=self.wide, device=self.q.device)
        for rows, at in self.parts():
            q, before, own = self.scores(rows, at)
            top = own.amax(dim=-1)
            if before.shape[-1]:
                top = torch.maximum(_apart(before.amax(dim=-1), q), top)
            before.sub_(_side_by_side(top)[..., None]).exp_()
            own.sub_(top[..., None]).exp_()
            total = _apart(before.sum(dim=-1), q) + own.sum(dim=-1)
            read = _apart(before.to(self.dtype) @ self.before_v, q).to(self.wide)
            read = read + own.to(self.dtype) @ self.v[rows, :, : at.stop]
            shape = attended[rows, :, :, at].shape
            attended[rows, :, :, at] = (read / total[..., None]).to(self.dtype).view(shape)
            totals[rows, :, :, at] = (top + total.log()).view(shape[:4])
        return attended.flatten(1, 2), totals

    def gradients(self, gradient: Tensor, attended: Tensor, totals: Tensor) -> list[Tensor]:
        """Of queries, the prefix's keys and values, and the own ones."""
        to_q = torch.empty_like(self.q, dtype=self.wide)
        to_before = [torch.zeros_like(self.before_k, dtype=self.wide) for _ in range(2)]
        to_own = [torch.zeros_like(self.k, dtype=self.wide) for _ in range(2)]
        per_head = gradient.to(self.dtype).view(self.q.shape)
        inner = (gradient.to(self.wide) * attended).sum(dim=-1).view(totals.shape)
        for rows, at in self.parts():
            q, before, own = self.scores(rows, at)
            total = totals[rows, :, :, at].flatten(2, 3)
            grad = per_head[rows, :, :, at].flatten(2, 3)
            less = inner[rows, :, :, at].flatten(2, 3)
            keys = (rows, slice(None), slice(at.stop))
            flat_q, flat_grad = _side_by_side(q), _side_by_side(grad)

            before.sub_(_side_by_side(total)[..., None]).exp_()
            to_before[1] += before.to(self.dtype).transpose(1, 2) @ flat_grad
            slope = (flat_grad @ self.before_v.transpose(1, 2)).to(self.wide)
            slope = slope.sub_(_side_by_side(less)[..., None]).mul_(before).to(self.dtype)
            to_before[0] += slope.transpose(1, 2) @ flat_q
            moved = _apart(slope @ self.before_k, q).to(self.wide)

            own.sub_(total[..., None]).exp_()
            to_own[1][keys] += own.to(self.dtype).transpose(2, 3) @ grad
            slope = (grad @ self.v[keys].transpose(2, 3)).to(self.wide)
            slope = slope.sub_(less[..., None]).mul_(own).to(self.dtype)
            to_own[0][keys] += slope.transpose(2, 3) @ q
            moved = (moved + slope @ self.k[keys]) * self.scale
            to_q[rows, :, :, at] = moved.view(to_q[rows, :, :, at].shape)
        return [to_q.flatten(1, 2), *to_before, *to_own]


def _side_by_side(x: Tensor) -> Tensor:
    """(rows, heads, queries, ...) as (heads, rows * queries, ...)."""
    return x.transpose(0, 1).flatten(1, 2)


def _apart(x: Tensor, like: Tensor) -> Tensor:
    """The other way round, with the rows and queries of another tensor."""
    return x.unflatten(1, (like.shape[0], -1)).transpose(0, 1)
