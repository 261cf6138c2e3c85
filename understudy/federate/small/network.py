"""The seam of small networks: from raw samples to features of a width of its own."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from understudy.federate.foundations.foundation import Inputs


class SmallNetwork(nn.Module):
    """A kind sets `width` and says `forward`; a projection to the federation's one feature width
    follows it. Its weights never leave a client."""

    width: int
    # Whether networks of several clients can be computed as one by torch.func.vmap: nothing random
    # in it, nothing kept of a batch, no branch on values.
    stacks: ClassVar[bool] = False

    def prepare(self, raw: Any) -> Inputs:
        """Pictures (n, 3, h, w) in [0, 1], or a sequence of texts, as `forward` takes them; once
        for each sample. Every tensor has the samples as its first dimension."""
        return {"raw": raw}

    def forward(self, inputs: Inputs) -> Tensor:
        """(n, width)."""
        raise NotImplementedError
