"""How much noise hides: norms bounded, and what a message with Gaussian noise gives away at most.

A vector of norm <= clip, with Gaussian noise of deviation noise * clip on every number, satisfies
rho-zCDP (arXiv:1605.02065) with rho = 2 / noise^2: whatever the data, the vector moves by 2 * clip
at most.  rho adds up over messages; rho-zCDP implies (epsilon, delta)-differential privacy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def clip_factor(arrays: Sequence[Tensor], clip: float) -> Tensor:
    """What arrays are multiplied by so that their joint L2 norm is `clip` at most."""
    norm = torch.stack([array.double().norm() for array in arrays]).norm()
    return torch.div(clip, norm.clamp(min=clip)).to(arrays[0].dtype)


def hidden(
    arrays: Sequence[Tensor], clip: float, noise: float, random: np.random.Generator
) -> list[Tensor]:
    """Arrays of joint norm `clip` at most, with noise of deviation noise * clip on each number."""
    factor = clip_factor(arrays, clip)
    result = []
    for array in arrays:
        drawn = random.standard_normal(tuple(array.shape), dtype=np.float32)
        result.append(array * factor + noise * clip * torch.from_numpy(np.asarray(drawn)))
    return result


def zero_concentrated(noise: float) -> float:
    """rho of one message with noise of this multiple of the clipping norm."""
    return 2 / noise**2


def epsilon(rho: float, delta: float) -> float:
    """Of (epsilon, delta)-differential privacy, by rho-zCDP: rho + 2 sqrt(rho ln(1 / delta))."""
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))
