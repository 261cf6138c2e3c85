"""What all prompts of a batch begin with, such as the instruction of their task."""

from __future__ import annotations

import torch
from torch import Tensor


def shared_prefix(ids: Tensor, mask: Tensor) -> int:
    """How many leading tokens all of some left-padded prompts have in common.

    ids, mask: (prompts, positions). It may be the whole of a prompt, and is that of a single one.
    """
    lengths = mask.sum(dim=1)
    shortest = int(lengths.min()) if len(lengths) else 0
    starts = ids.shape[1] - lengths
    places = starts[:, None] + torch.arange(shortest, device=ids.device)
    begun = ids.gather(1, places)
    same = (begun == begun[:1]).all(dim=0)
    return int(same.long().cumprod(dim=0).sum())
