"""One layer of soft ordering for many networks at once, with a gradient written by hand.

    out = sum_m share_m * drop(relu(h W_m + b_m))

What autograd would keep for each of its steps is kept once, and overwritten where it is last used:
half the passes over memory, which is where the time goes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def mixed_layer(
    h: Tensor, weight: Tensor, bias: Tensor, share: Tensor, kept: Tensor | None
) -> Tensor:
    """(rows, samples, out). h: (rows, samples, in); weight: (rows, n, out, in); bias: (rows, n,
    out); share: (rows, samples, n); kept: (rows, samples, n, out), which units dropout left."""
    out: Tensor = _MixedLayer.apply(h, weight, bias, share, kept)  # type: ignore[no-untyped-call]
    return out


class _MixedLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, share: Tensor, kept: Tensor | None
    ) -> Tensor:
        units = _units_of(h, weight, bias)
        if kept is not None:
            units.mul_(kept)
        ctx.save_for_backward(h, weight, share, units)
        out = units[:, :, 0] * share[:, :, 0, None]
        for module in range(1, share.shape[2]):
            out.addcmul_(units[:, :, module], share[:, :, module, None])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, share, units = ctx.saved_tensors
        gradient = gradients[0]
        rows, samples, count, width = units.shape
        to_h = to_weight = to_bias = to_share = None
        if ctx.needs_input_grad[3]:
            flat = units.view(rows * samples, count, width)
            to_share = torch.bmm(flat, gradient.reshape(rows * samples, width, 1))
            to_share = to_share.view(rows, samples, count)
        if any(ctx.needs_input_grad[:3]):
            inner = gradient[:, :, None] * share[..., None]
            torch.ops.aten.threshold_backward.grad_input(inner, units, 0, grad_input=inner)
            inner = inner.view(rows, samples, -1)
            if ctx.needs_input_grad[0]:
                to_h = torch.bmm(inner, weight.reshape(rows, count * width, -1))
            if ctx.needs_input_grad[1]:
                to_weight = torch.bmm(inner.mT, h).view_as(weight)
            if ctx.needs_input_grad[2]:
                to_bias = inner.sum(dim=1).view(rows, count, width)
        return to_h, to_weight, to_bias, to_share, None


def _units_of(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(h W_m + b_m): (rows, samples, n, out)."""
    rows, count, width = weight.shape[:3]
    together = weight.reshape(rows, count * width, -1).mT
    units = torch.baddbmm(bias.reshape(rows, 1, -1), h, together).relu_()
    return units.view(rows, h.shape[1], count, width)
