"""The samples of a data set, pictures or texts, before they are divided among clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from understudy.errors import ConfigError


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


def among(found: SampleSet, classes: int | Sequence[str], name: str) -> SampleSet:
    """The same samples, their classes numbered as every client numbers them: by their places in a
    list of names, or, where only a count is given, by the number that a class is called by.

    name: of the data, for a refusal.
    """
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    places = {each: place for place, each in enumerate(names)}
    for each in found.classes:
        if each not in places:
            known = f"classes={classes}" if isinstance(classes, int) else "classes"
            raise ConfigError(
                f"data={name}: has a class {each!r}, which is none of {known}; where every client "
                "has data of its own, set classes to the list of all names, or to a count and "
                "label with numbers from 0 on"
            )
    numbers = torch.tensor([places[each] for each in found.classes])
    return replace(found, label=numbers[found.label], classes=names)
