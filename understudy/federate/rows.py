"""Heads whose rows are averaged class by class, each by those who have the class.

A class that few clients have would else be diluted by all others, whose row of it never moved.
Each client sends how many training samples of each class it has had; that is no label of a sample,
but it tells which classes it has. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

COUNTS = "by_class"  # the array that says so, among a message's others
COUNTS_LEAVE = "With it goes how many training samples of each class the client has had."
_HEAD = "head."  # with which the names of a head's arrays begin

Shapes = Mapping[str, tuple[int | None, ...]]


def without_counts(kinds: Mapping[str, Shapes]) -> dict[str, Shapes]:
    """What comes back of what was sent."""
    return {
        kind: {name: shape for name, shape in shapes.items() if name != COUNTS}
        for kind, shapes in kinds.items()
    }


def mean_rows(models: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """The arrays of the head of all clients' messages, if they say what each knows; else none."""
    import torch

    from understudy.objectives.aggregation import mean_by_row

    if COUNTS not in models[0]:
        return {}
    counts = torch.stack([each[COUNTS] for each in models]).clamp(min=0)
    return {
        name: mean_by_row(torch.stack([each[name] for each in models]), counts)
        for name in models[0]
        if name.startswith(_HEAD)
    }
