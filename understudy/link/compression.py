"""Numbers made smaller for a link, and back: 8 bits for each, or the largest changes alone.

Quantised: every row (an entry of the first dimension: a module, an instance) is cut into 255 equal
steps from its least to its greatest number.  Rounded to the nearest step it is off by half a step
at most, and always alike; rounded at random it is off by up to a step and right on average, so that
what comes from many agents has errors that cancel.

Sparse: of what changed since the other side last got it, the places where it changed most.  What is
left out stays in the difference and is sent once it has grown.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_STEPS = 255


def quantised(
    x: Tensor, random: np.random.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """(codes as x, uint8; least of each row; step of each row). x has at least one number; a vector
    is one row. random: what rounds at random; None: to the nearest. A row that is not finite
    comes back as not finite."""
    rows = x.reshape(len(x) if x.dim() > 1 else 1, -1)
    low = rows.amin(dim=1)
    step = (rows.amax(dim=1) - low) / _STEPS
    exact = (rows - low[:, None]) / step.where(step > 0, 1.0)[:, None]
    if random is None:
        rounded = (exact + 0.5).floor()
    else:
        drawn = torch.from_numpy(random.random(tuple(rows.shape), dtype=np.float32))
        rounded = (exact + drawn).floor()
    codes = rounded.nan_to_num(0.0).clamp(0, _STEPS).to(torch.uint8)
    return codes.view(x.shape), low, step


def dequantised(codes: Tensor, low: Tensor, step: Tensor) -> Tensor:
    """What `quantised` was given, up to a step."""
    rows = codes.reshape(len(low), -1)
    return (rows * step[:, None] + low[:, None]).view(codes.shape)


def largest_changes(now: Tensor, before: Tensor, share: float) -> Tensor:
    """The places, in order, of the `share` of entries (rounded up) that changed most, of those that
    changed at all. now, before: of one shape; returns places in the flat tensor."""
    change = (now - before).abs().flatten()
    count = math.ceil(share * change.numel())
    places = change.topk(count).indices
    return places[change[places] != 0].sort().values


def replaced(before: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """`before` with these values at these places of the flat tensor."""
    result = before.flatten().clone()
    result[places] = values
    return result.view(before.shape)


def packed_places(places: Tensor, size: int) -> Tensor:
    """Places below `size`, in order, in the fewest bytes: a bit for every entry (uint8), or where
    few are named their numbers (int32)."""
    if 4 * len(places) < -(-size // 8):
        return places.to(torch.int32)
    named = np.zeros(size, dtype=bool)
    named[places.numpy()] = True
    return torch.from_numpy(np.packbits(named))


def unpacked_places(packed: Tensor, size: int) -> Tensor:
    """What `packed_places` was given."""
    if packed.dtype == torch.int32:
        return packed.long()
    return torch.from_numpy(np.flatnonzero(np.unpackbits(packed.numpy(), count=size)))
