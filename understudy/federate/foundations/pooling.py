"""From a model's last states to one vector of each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from understudy.federate.foundations.settings import Pooling

OF_PICTURES: tuple[Pooling, ...] = ("class", "patches")
OF_TEXT: tuple[Pooling, ...] = ("mean", "last", "class")


def pooled(states: Tensor, how: Pooling, mask: Tensor | None = None, extra: int = 0) -> Tensor:
    """(n, width) of states (n, tokens, width).

    class: the first token's; last: the last real token's; mean: over the real tokens; patches:
    over all but the first `extra` tokens. mask: (n, tokens), 1 where a token is real; real ones
    come first.
    """
    if how == "class":
        return states[:, 0]
    if how == "patches":
        return states[:, extra:].mean(dim=1)
    if mask is None:
        return states[:, -1] if how == "last" else states.mean(dim=1)
    count = mask.sum(dim=1)
    if how == "last":
        return states[torch.arange(len(states), device=states.device), (count - 1).clamp(min=0)]
    shown = mask[..., None].to(states.dtype)
    return (states * shown).sum(dim=1) / count[:, None].clamp(min=1).to(states.dtype)
