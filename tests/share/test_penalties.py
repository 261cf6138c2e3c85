"""Penalties are taken module by module, as over the parameters of a network."""

from __future__ import annotations

import pytest
import torch

from understudy.share.penalties import Curvature, Proximal, penalty_of


def test_the_norm_is_each_modules_own() -> None:
    """Two modules, each at a distance of 5 from its anchor: 1/2 * (5 + 5), not sqrt(50) / 2."""
    weights = {"modules.weight": torch.tensor([[[[3.0, 4.0]], [[0.0, 5.0]], [[9.0, 9.0]]]])}
    anchors = {"modules.weight": torch.zeros(2, 1, 2)}  # of the first two modules
    penalty = penalty_of([Proximal(anchors, 0.5, False)])
    assert penalty is not None
    assert penalty(weights).tolist() == pytest.approx([0.5 * 5.0])
    squared = penalty_of([Proximal(anchors, 0.5, True)])
    assert squared is not None
    assert squared(weights).tolist() == pytest.approx([0.5 * 25.0])


def test_rows_are_held_to_their_own() -> None:
    weights = {"modules.bias": torch.tensor([[[1.0], [2.0]], [[1.0], [2.0]]])}

    def target(precision: float, centre: float) -> Curvature:
        one = torch.full((2, 1), 1.0)
        return Curvature({"modules.bias": (precision * one, centre * one)}, 2.0)

    penalty = penalty_of([target(1.0, 0.0), target(3.0, 1.0)])
    assert penalty is not None
    assert penalty(weights).tolist() == [2 * (1 + 4), 2 * 3 * (0 + 1)]
    assert penalty_of([None, None]) is None
