"""What holds training to the weights of others, for several learners at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from understudy.actors.records import registered
from understudy.actors.stacks import stacked
from understudy.objectives import curvature_penalty, proximal_penalty

Weights = dict[str, Tensor]


class Penalty(ABC):
    """Added to an agent's loss until its mode sets another. A registered dataclass."""

    __slots__ = ()

    @classmethod
    @abstractmethod
    def joined(cls, penalties: Sequence[Self]) -> Callable[[Weights], Tensor]:
        """The penalties of rows that are trained together, as a function of their stacked
        weights: (rows,)."""


@registered
@dataclass(frozen=True, slots=True, eq=False)
class Proximal(Penalty):
    """+ mu * proximal_penalty. anchors: weights by name, the first modules of each."""

    anchors: Weights
    mu: float
    squared: bool

    @classmethod
    def joined(cls, penalties: Sequence[Self]) -> Callable[[Weights], Tensor]:
        anchors = stacked([each.anchors for each in penalties])
        mu, squared = penalties[0].mu, penalties[0].squared
        return lambda weights: (
            mu * proximal_penalty(_alike(weights, anchors), _each(anchors), squared)
        )


@registered
@dataclass(frozen=True, slots=True, eq=False)
class Curvature(Penalty):
    """+ mu * curvature_penalty. targets: (precision, centre) by name."""

    targets: dict[str, tuple[Tensor, Tensor]]
    mu: float

    @classmethod
    def joined(cls, penalties: Sequence[Self]) -> Callable[[Weights], Tensor]:
        pairs = [each.targets for each in penalties]
        precisions = stacked([{name: pair[0] for name, pair in row.items()} for row in pairs])
        centres = stacked([{name: pair[1] for name, pair in row.items()} for row in pairs])
        mu = penalties[0].mu
        return lambda weights: (
            mu * curvature_penalty(_alike(weights, centres), _each(precisions), _each(centres))
        )


def penalty_of(penalties: Sequence[Penalty | None]) -> Callable[[Weights], Tensor] | None:
    """The penalties of rows that are trained together, all of one kind or all None."""
    known = [each for each in penalties if each is not None]
    if not known:
        return None
    assert len(known) == len(penalties)
    return type(known[0]).joined(known)


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
