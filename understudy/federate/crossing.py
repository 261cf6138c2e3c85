"""What crosses between a client and the server, and what is refused of it, with a reason.

A message is one parcel: the arrays of one kind, and `about`, which says whose it is, of which round
and from how many samples. Arrays are taken only with the names and shapes that the method declares,
finite and of a size that numbers of a model have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.federate.methods.method import Arrays, Shape, Shapes
from understudy.link.carrier import Message, Parcel

ABOUT = "about"  # (client, round, samples)


@dataclass(frozen=True, slots=True)
class About:
    client: int
    round: int
    samples: int


def message(sender: int, to: int, kind: str, arrays: Arrays, about: About) -> Message:
    """floats: the numbers of its arrays; `about` counts in bytes alone."""
    said = torch.tensor([about.client, about.round, about.samples])
    floats = sum(array.numel() for array in arrays.values())
    return Message(sender, to, kind, (Parcel({**arrays, ABOUT: said}, floats),), about.round)


def read(
    given: Message, known: Mapping[str, Shapes], largest: float
) -> tuple[str, About | None, dict[str, Tensor]]:
    """(why it is refused, or nothing; what it is about; its arrays)."""
    if given.kind not in known or len(given.parcels) != 1:
        return "unknown kind", None, {}
    arrays = dict(given.parcels[0].arrays)
    said = arrays.pop(ABOUT, None)
    if said is None or said.dtype != torch.int64 or said.shape != (3,):
        return "says not what it is about", None, {}
    about = About(*said.tolist())
    if about.samples < 0:
        return "a negative count of samples", about, {}
    return fault(arrays, known[given.kind], largest), about, arrays


def fault(arrays: Arrays, known: Shapes, largest: float) -> str:
    """What is wrong with arrays; nothing: ''."""
    if set(arrays) != set(known):
        return "other arrays"
    for name, array in arrays.items():
        if not _fits(tuple(array.shape), known[name]):
            return "wrong shapes"
        if not array.is_floating_point():
            return "wrong kind of numbers"
        if not bool(array.isfinite().all()):
            return "not finite"
        if array.numel() and float(array.double().square().mean().sqrt()) > largest:
            return "absurd norm"
    return ""


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        one is None or one == length for length, one in zip(shape, wanted, strict=True)
    )
