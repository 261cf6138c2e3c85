"""What small networks of pictures have in common: any size, any number of channels."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from understudy.errors import ConfigError
from understudy.federate.foundations.foundation import Inputs
from understudy.federate.pictures import floats
from understudy.federate.small.network import SmallNetwork

PIXELS = "pixels"


class PictureNetwork(SmallNetwork):
    """A kind makes of pictures with values around 0, (n, channels, height, width), features.

    Nothing in it depends on the other pictures of a batch, and it computes in training as in use,
    so that the networks of many clients can be computed as one (torch.func.vmap).
    """

    stacks = True

    def __init__(self, raw: Any) -> None:
        super().__init__()
        shape = tuple(raw.shape) if isinstance(raw, Tensor) else (type(raw).__name__,)
        if len(shape) != 4:
            raise ConfigError(
                "this small network reads pictures (n, channels, height, width), not "
                f"{list(shape)}; for text, set small=words"
            )
        self.channels = int(shape[1])

    def prepare(self, raw: Any) -> Inputs:
        if not isinstance(raw, Tensor) or raw.dim() != 4 or raw.shape[1] != self.channels:
            found = list(raw.shape) if isinstance(raw, Tensor) else type(raw).__name__
            raise ConfigError(
                f"this small network was made for pictures of {self.channels} channels, but was "
                f"given {found}"
            )
        return {PIXELS: 4 * floats(raw) - 2}


def normalised(channels: int) -> nn.GroupNorm:
    """Not over the batch: its statistics would tie its samples to each other."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def stage_widths(width: int, stages: int) -> list[int]:
    """Channels of every stage: each has twice those of the one before, the last has `width`."""
    if stages < 1 or width % 2 ** (stages - 1):
        raise ConfigError(
            f"small network: width={width} cannot be halved {stages - 1} times, once for each "
            f"stage before the last; use a multiple of {2 ** (max(stages, 1) - 1)}"
        )
    return [width // 2 ** (stages - 1 - stage) for stage in range(stages)]
