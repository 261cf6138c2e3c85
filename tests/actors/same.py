"""Whether what has come back from elsewhere is what went there."""

from __future__ import annotations

from typing import Any

import torch


def bits(array: torch.Tensor) -> bytes:
    return array.contiguous().numpy().tobytes()


def same(one: Any, other: Any) -> bool:
    """Whether two contents are equal, array by array and bit by bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and bits(one) == bits(other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, n), getattr(other, n)) for n in one.__dataclass_fields__)
    return bool(one == other) or (one != one and other != other)
