"""A small network's features become the low-rank matrices of the frozen network's blocks.

    h (n, width)  ->  {block: (A (n, r, inputs), B (n, outputs, r))}

A plain linear layer from h to all of them would be larger than the small network. So a layer of
`hidden` units stands between: one for each block (bottleneck), or one for all blocks together, with
an embedding that says which block is meant (trunk). B's last layer begins at zero, weights and
bias: before any training the frozen network is as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import ConfigError
from understudy.federate.foundations.foundation import Adapter, Target
from understudy.federate.generator_settings import GeneratorSettings
from understudy.federate.losses import Matrices


class Generator(nn.Module):
    """What every kind has in common: two linear layers make matrices of hidden units."""

    def __init__(self, width: int, targets: Sequence[Target], rank: int) -> None:
        super().__init__()
        self.width, self.rank, self.targets = width, rank, tuple(targets)

    def hidden(self, h: Tensor) -> dict[int, Tensor]:
        """By block: what the layers that make its A and B read, (n, hidden)."""
        raise NotImplementedError

    def last(self, block: int) -> tuple[str, str]:
        """The names of the layers that make a block's A and B."""
        raise NotImplementedError

    def forward(self, h: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
        low, found = self.hidden(h), {}
        for target in self.targets:
            a, b = (self.get_submodule(name)(low[target.block]) for name in self.last(target.block))
            found[target.block] = self.pair(target, a, b)
        return found

    def sizes(self, target: Target) -> tuple[int, int]:
        """How many numbers A and B of a block have."""
        return self.rank * target.inputs, self.rank * sum(target.outputs)

    def pair(self, target: Target, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of A and B, (n, size) each, as matrices."""
        outputs = sum(target.outputs)
        return (
            a.unflatten(-1, (self.rank, target.inputs)),
            b.unflatten(-1, (outputs, self.rank)),
        )


class Bottleneck(Generator):
    """A hidden layer of its own for each block."""

    def __init__(
        self, width: int, targets: Sequence[Target], rank: int, settings: GeneratorSettings
    ) -> None:
        super().__init__(width, targets, rank)
        self.norm = nn.LayerNorm(width)
        self.down = nn.ModuleDict()
        self.a, self.b = nn.ModuleDict(), nn.ModuleDict()
        for target in targets:
            name, (first, second) = str(target.block), self.sizes(target)
            self.down[name] = nn.Linear(width, settings.hidden)
            self.a[name] = matrix_layer(settings.hidden, first, target.inputs)
            self.b[name] = zero_layer(settings.hidden, second)

    def hidden(self, h: Tensor) -> dict[int, Tensor]:
        h = self.norm(h)
        return {t.block: F.gelu(self.down[str(t.block)](h)) for t in self.targets}

    def last(self, block: int) -> tuple[str, str]:
        return f"a.{block}", f"b.{block}"


class Trunk(Generator):
    """One hidden part for all blocks, and an embedding for each; blocks must be of one shape."""

    def __init__(
        self, width: int, targets: Sequence[Target], rank: int, settings: GeneratorSettings
    ) -> None:
        super().__init__(width, targets, rank)
        shapes = {(target.inputs, target.outputs) for target in targets}
        if len(shapes) > 1:
            raise ConfigError(
                f"generator.kind=trunk: blocks {[t.block for t in targets]} have layers of "
                "different shapes; use bottleneck"
            )
        first, second = self.sizes(targets[0])
        self.norm = nn.LayerNorm(width)
        self.block = nn.Parameter(torch.randn(len(targets), settings.embedding))
        self.down = nn.Linear(width + settings.embedding, settings.hidden)
        self.middle = nn.Linear(settings.hidden, settings.hidden)
        self.a = matrix_layer(settings.hidden, first, targets[0].inputs)
        self.b = zero_layer(settings.hidden, second)

    def hidden(self, h: Tensor) -> dict[int, Tensor]:
        h = self.norm(h)
        found = {}
        for target, embedding in zip(self.targets, self.block, strict=True):
            given = torch.cat([h, embedding.expand(*h.shape[:-1], -1)], dim=-1)
            found[target.block] = F.gelu(self.middle(F.gelu(self.down(given))))
        return found

    def last(self, block: int) -> tuple[str, str]:
        return "a", "b"


def matrix_layer(hidden: int, size: int, inputs: int) -> nn.Linear:
    """Its bias is an ordinary LoRA's first A, so that A differs from zero for every sample."""
    layer = nn.Linear(hidden, size)
    nn.init.uniform_(layer.bias, -(inputs**-0.5), inputs**-0.5)
    return layer


def zero_layer(hidden: int, size: int) -> nn.Linear:
    layer = nn.Linear(hidden, size)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


_KINDS = {"bottleneck": Bottleneck, "trunk": Trunk}


def new_generator(
    width: int, targets: Sequence[Target], rank: int, settings: GeneratorSettings, seed: int
) -> Generator:
    """The same seed begins with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _KINDS[settings.kind](width, targets, rank, settings)


def adapters_of(matrices: Matrices, alpha: float) -> Mapping[int, Adapter]:
    """Matrices as a foundation takes them, scaled by alpha / r."""
    return {block: Adapter(a, b, alpha / a.shape[-2]) for block, (a, b) in matrices.items()}
