"""Per-sample LoRA: every sample has its own low-rank change of a frozen layer.

    W z  becomes  W z + scale * B A z     z (n, tokens, inputs); A (n, r, inputs); B (n, outputs, r)

Two batched products beside the layer's own. Nothing frozen is copied, and what is kept for the
gradient grows with r, not with the layer. Layers that read the same z share A z: B's rows are split
among them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.federate.foundations.foundation import Adapter


def reduced(z: Tensor, a: Tensor) -> Tensor:
    """A z, (n, tokens, r), of every sample. z: (n, tokens, inputs); a: (n, r, inputs)."""
    return torch.bmm(z, a.mT)


def raised(product: Tensor, low: Tensor, b: Tensor, scale: float) -> Tensor:
    """product + scale * B low, of every sample. product: (n, tokens, outputs), a frozen layer's
    own; low: (n, tokens, r); b: (n, outputs, r)."""
    return torch.baddbmm(product, low, b.mT, alpha=scale)


def adapted(product: Tensor, z: Tensor, adapter: Adapter) -> Tensor:
    """What a frozen layer gives with an adapter per sample. product: W z of it."""
    return raised(product, reduced(z, adapter.a), adapter.b, adapter.scale)
