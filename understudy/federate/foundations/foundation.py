"""The seam: a frozen network that turns prepared inputs into features, with an adapter per sample.

    inputs = foundation.prepare(raw)                  # once for each sample
    features = foundation.features(inputs, adapters)  # (n, width), as often as adapters change

Where the blocks before the first tuned one are many, their result is computed once and kept:

    kept = foundation.activations(inputs, before=8)   # the inputs, and `hidden.8` among them
    features = foundation.features(kept, adapters)    # goes on from block 8

Tokens of one's own may be read beside a sample's:

    features = foundation.features(inputs, prompts=tokens)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

HIDDEN = "hidden."  # then a block's number: what stands before that block, among the inputs

Inputs = Mapping[str, Tensor]  # every tensor has the samples as its first dimension


@dataclass(frozen=True, slots=True)
class Target:
    """Linear layers of one block that share an A: the fused qkv, or q, k and v.

    layers: names of submodules of the foundation's module, in the order of B's rows; outputs: the
    rows of each.
    """

    block: int
    layers: tuple[str, ...]
    inputs: int
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """Of one block, one pair per sample: W z becomes W z + scale * B A z."""

    a: Tensor  # (n, r, inputs)
    b: Tensor  # (n, outputs, r)
    scale: float = 1.0  # alpha / r


class Foundation(Protocol):
    """Frozen: no parameter has a gradient, and the module is in evaluation mode."""

    kind: Literal["pictures", "text"]
    width: int  # of what `features` returns
    token_width: int  # of a token as the first block reads it, and so of a prompt's
    blocks: int
    module: torch.nn.Module

    def target(self, block: int) -> Target:
        """What an adapter of this block changes. Blocks count from 0."""
        ...

    def prepare(self, raw: Any) -> Inputs:
        """Pictures (n, 3, h, w) in [0, 1], or a sequence of texts, as `features` takes them."""
        ...

    def activations(self, inputs: Inputs, before: int) -> Inputs:
        """The inputs with what stands before a block, under `hidden.BLOCK`: computed once where
        no earlier block is adapted."""
        ...

    def features(
        self,
        inputs: Inputs,
        adapters: Mapping[int, Adapter] | None = None,
        prompts: Tensor | None = None,
    ) -> Tensor:
        """(n, width): the class token, the mean or the last token; with gradients to adapters and
        prompts.

        adapters: by block. Inputs with `hidden.BLOCK` go on from that block. prompts: (n, tokens,
        token_width), read from the first block on beside the sample's own tokens, and not pooled.
        """
        ...
