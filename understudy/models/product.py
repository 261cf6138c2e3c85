"""Products with a weight that many calls read."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether weights can be kept in the order in which a CPU multiplies them."""
    known = (
        device.type == "cpu" and dtype == torch.bfloat16 and torch.backends.mkldnn.is_available()
    )
    return known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Product:
    """x @ weight.T + bias, without a gradient.

    pack: keep a copy of the weight in the order in which oneDNN reads it. It would else bring the
    weight into that order at every call, which takes half as long as a product of few rows.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, pack: bool) -> None:
        self.bias, self.packed = bias, pack
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight) if pack else weight

    def __call__(self, x: Tensor) -> Tensor:
        if not self.packed:
            return F.linear(x, self.weight, self.bias)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, "none", [], ""
        )
        return found
