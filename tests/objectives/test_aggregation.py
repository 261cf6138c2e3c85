"""Means over clients, worked by hand, and one liar among ten."""

from __future__ import annotations

import pytest
import torch

from understudy.objectives.aggregation import median, trimmed_mean, weighted_mean

STACK = torch.tensor([[1.0, 4.0], [2.0, 0.0], [9.0, 2.0]])


def test_by_hand() -> None:
    assert weighted_mean(STACK, torch.tensor([1.0, 3.0, 0.0])).tolist() == [1.75, 1.0]
    assert weighted_mean(STACK, torch.ones(3)).tolist() == [4.0, 2.0]
    assert median(STACK).tolist() == [2.0, 2.0]
    assert median(STACK[:2]).tolist() == [1.5, 2.0]
    assert trimmed_mean(STACK, 0.1).tolist() == [2.0, 2.0]  # one at either end of three
    assert trimmed_mean(STACK, 0.0).tolist() == [4.0, 2.0]
    assert trimmed_mean(STACK[:2], 0.4).tolist() == [1.5, 2.0]


@pytest.mark.parametrize("lie", [1e6, -1e6, 3.0])
def test_one_liar_of_ten_moves_a_robust_mean_no_further_than_the_honest_spread(lie: float) -> None:
    torch.manual_seed(0)
    honest = torch.randn(9, 50)
    stack = torch.cat([honest, torch.full((1, 50), lie)])
    low, high = honest.amin(dim=0), honest.amax(dim=0)
    for found in (median(stack), trimmed_mean(stack, 0.1)):
        assert bool(((found >= low) & (found <= high)).all())
    if abs(lie) > 1e3:
        moved = weighted_mean(stack, torch.ones(10))
        assert bool(((moved < low) | (moved > high)).all())
