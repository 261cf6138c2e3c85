"""What all prompts of a batch begin with, such as the instruction of their task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from understudy.models.decoder import Decoder, KeysValues

# Fewer tokens, or fewer spared in all, are read faster once more than apart.
_SHORTEST, _SPARED = 16, 96


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


def worthwhile_prefix(ids: Tensor, mask: Tensor) -> int:
    """How many leading tokens of left-padded prompts should be computed once for all: 0 where it
    would not pay. At least one token of each prompt is left."""
    shortest = int(mask.sum(dim=1).min()) if len(mask) else 0
    count = min(shared_prefix(ids, mask), shortest - 1)
    return count if pays(count, len(ids)) else 0


def pays(count: int, readers: int) -> bool:
    """Whether so many tokens should be computed once for so many readers."""
    return count >= _SHORTEST and count * (readers - 1) >= _SPARED


class Prefix:
    """Tokens that several sequences begin with, computed once, with their gradient."""

    def __init__(self, tokens: list[int], before: Prefix | None = None) -> None:
        self.tokens, self.before = tokens, before
        self._read: list[KeysValues] | None = None

    def read(self, network: Decoder) -> list[KeysValues]:
        """Per block, keys and values (heads, positions, head size), those before included."""
        if self._read is None:
            before = self.before.read(network) if self.before else network.nothing()
            tokens = torch.tensor(self.tokens, device=network.embedding.weight.device)
            self._read = network.extend(tokens, before)
        return self._read
