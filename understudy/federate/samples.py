"""The samples of a data set, pictures or texts, before they are divided among clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """raw: pictures (n, channels, height, width), bytes or floats in [0, 1], or n texts.

    label: (n,), places in classes, their names. held: (n,), true where the set itself says that a
    sample is to test with; None: it does not say. user: (n,), places in users, where every sample
    is somebody's; None: it is nobody's.
    """

    raw: Tensor | tuple[str, ...]
    label: Tensor
    classes: tuple[str, ...]
    held: Tensor | None = None
    user: Tensor | None = None
    users: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def kind(self) -> str:
        return "pictures" if isinstance(self.raw, Tensor) else "text"

    def of(self, places: Tensor) -> Tensor | tuple[str, ...]:
        """Some of the raw samples."""
        if isinstance(self.raw, Tensor):
            return self.raw[places]
        return tuple(self.raw[place] for place in places.tolist())


def numbered(names: Sequence[str]) -> tuple[tuple[str, ...], Tensor]:
    """The different names, in the order of their numbers if all are numbers, else of the alphabet;
    and the place of each."""
    found = set(names)
    try:
        known = sorted(found, key=lambda name: (float(name), name))
    except ValueError:
        known = sorted(found)
    places = {name: place for place, name in enumerate(known)}
    return tuple(known), torch.tensor([places[name] for name in names])
