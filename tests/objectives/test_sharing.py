"""Means, anchors and curvatures of neighbours, worked by hand."""

from __future__ import annotations

import pytest
import torch

from understudy.objectives import (
    curvature_penalty,
    curvature_target,
    fisher_diagonal,
    fisher_interpolation,
    neighbourhood_mean,
    proximal_penalty,
)


def test_the_mean_of_one_agent_is_that_agent() -> None:
    own = torch.randn(3, 2)
    assert neighbourhood_mean(own, []).equal(own)


def test_the_mean_counts_every_neighbour_once() -> None:
    mean = neighbourhood_mean(torch.tensor([1.0, 5.0]), [torch.tensor([4.0, 2.0])] * 2)
    assert mean.tolist() == [3.0, 3.0]


def test_a_proximal_pull_by_hand() -> None:
    w = [torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[[1.0]], [[2.0]]])]
    anchors = [torch.zeros(2, 2), torch.zeros(2, 1, 1)]
    assert proximal_penalty(w, anchors).tolist() == [(5 + 1) / 2, 2 / 2]
    assert proximal_penalty(w, anchors, squared=True).tolist() == [(25 + 1) / 2, 4 / 2]


def test_at_the_anchor_nothing_pulls() -> None:
    w = torch.ones(1, 3, requires_grad=True)
    for squared in (False, True):
        (gradient,) = torch.autograd.grad(
            proximal_penalty([w], [torch.ones(1, 3)], squared).sum(), w
        )
        assert gradient.tolist() == [[0.0, 0.0, 0.0]]


def test_the_plain_norm_pulls_with_one_force_at_every_distance() -> None:
    for distance in (0.1, 10.0):
        w = torch.tensor([[distance, 0.0]], requires_grad=True)
        (gradient,) = torch.autograd.grad(proximal_penalty([w], [torch.zeros(1, 2)]).sum(), w)
        assert gradient.tolist() == [[0.5, 0.0]]


def test_the_fisher_diagonal_is_a_mean_of_squares() -> None:
    assert fisher_diagonal(torch.tensor([[1.0, -2.0], [3.0, 0.0]])).tolist() == [5.0, 2.0]


def test_one_pair_stands_for_all_neighbours_up_to_a_constant() -> None:
    torch.manual_seed(0)
    fishers, thetas = list(torch.rand(3, 4)), list(torch.randn(3, 4))
    precision, centre = curvature_target(fishers, thetas)

    def direct(theta: torch.Tensor) -> torch.Tensor:
        return sum(
            (f * (theta - t).square() for f, t in zip(fishers, thetas, strict=True)), 0
        ).sum()

    one, other = torch.randn(2, 4)
    short = [
        curvature_penalty([theta[None]], [precision[None]], [centre[None]])[0]
        for theta in (one, other)
    ]
    assert float(short[0] - short[1]) == pytest.approx(float(direct(one) - direct(other)), rel=1e-5)


def test_where_nobody_cares_nothing_is_held() -> None:
    precision, centre = curvature_target([torch.tensor([0.0, 2.0])], [torch.tensor([7.0, 3.0])])
    assert precision.tolist() == [0.0, 2.0]
    assert centre.tolist() == [0.0, 3.0]
    penalty = curvature_penalty([torch.tensor([[9.0, 4.0]])], [precision[None]], [centre[None]])
    assert penalty.tolist() == [2.0]


def test_interpolation_keeps_what_its_own_data_care_for() -> None:
    own, mean = torch.tensor([10.0, 10.0]), torch.tensor([0.0, 0.0])
    assert fisher_interpolation(own, mean, torch.zeros(2)).tolist() == [5.0, 5.0]
    kept = fisher_interpolation(own, mean, torch.tensor([100.0, 0.0]))
    assert kept.tolist() == pytest.approx([10.0, 0.0])
    soft = fisher_interpolation(own, mean, torch.tensor([100.0, 0.0]), temperature=1e6)
    assert soft.tolist() == pytest.approx([5.0, 5.0], abs=1e-2)
