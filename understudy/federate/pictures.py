"""Pictures as tensors: (n, channels, height, width), whole numbers 0 to 255 or fractions 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor


def floats(pictures: Tensor) -> Tensor:
    """With values in [0, 1]."""
    if pictures.dtype == torch.uint8:
        return pictures.float() / 255
    return pictures.float()
