"""What holds training to the weights of others, for several learners at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.objectives import curvature_penalty, proximal_penalty

Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Proximal:
    """+ mu * proximal_penalty. anchors: weights by name, the first modules of each."""

    anchors: Weights
    mu: float
    squared: bool


@dataclass(frozen=True, slots=True, eq=False)
class Curvature:
    """+ mu * curvature_penalty. targets: (precision, centre) by name."""

    targets: dict[str, tuple[Tensor, Tensor]]
    mu: float


Penalty = Proximal | Curvature


def together(penalties: Sequence[Penalty | None]) -> Callable[[Weights], Tensor] | None:
    """The penalties of rows that are trained together, all of one kind, as a function of their
    stacked weights: (rows,)."""
    if all(each is None for each in penalties):
        return None
    known = [each for each in penalties if each is not None]
    assert len(known) == len(penalties)
    first = known[0]
    if isinstance(first, Proximal):
        anchors = _stacked([each.anchors for each in known if isinstance(each, Proximal)])
        mu, squared = first.mu, first.squared
        return lambda weights: (
            mu * proximal_penalty(_alike(weights, anchors), _each(anchors), squared)
        )
    pairs = [each.targets for each in known if isinstance(each, Curvature)]
    precisions = _stacked([{name: pair[0] for name, pair in row.items()} for row in pairs])
    centres = _stacked([{name: pair[1] for name, pair in row.items()} for row in pairs])
    mu = first.mu
    return lambda weights: (
        mu * curvature_penalty(_alike(weights, centres), _each(precisions), _each(centres))
    )


def _alike(weights: Weights, others: Weights) -> list[Tensor]:
    """The part of stacked weights that the others speak of, the first modules: each module's own
    tensors, as a network's parameters are."""
    return [
        module
        for name, other in others.items()
        for module in weights[name][:, : other.shape[1]].unbind(dim=1)
    ]


def _each(stacked: Weights) -> list[Tensor]:
    return _alike(stacked, stacked)


def _stacked(rows: Sequence[Weights]) -> Weights:
    assert rows
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
