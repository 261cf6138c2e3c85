"""Bounds on norms, and what Gaussian noise gives away, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from understudy.objectives import clip_factor, epsilon, zero_concentrated


def test_arrays_are_scaled_together_to_a_norm() -> None:
    arrays = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]  # norm 5
    assert float(clip_factor(arrays, 1.0)) == pytest.approx(0.2)
    assert float(clip_factor(arrays, 5.0)) == 1.0
    assert float(clip_factor(arrays, 50.0)) == 1.0
    assert float(clip_factor([torch.zeros(3)], 1.0)) == 1.0


def test_a_norm_beyond_all_numbers_leaves_nothing() -> None:
    assert float(clip_factor([torch.tensor([1.0, float("inf")])], 1.0)) == 0.0
    assert math.isnan(float(clip_factor([torch.tensor([1.0, float("nan")])], 1.0)))


def test_zero_concentration_by_hand() -> None:
    """Clipped to C a vector moves by 2 C at most; rho = (2 C)^2 / (2 (noise C)^2)."""
    assert zero_concentrated(1.0) == 2.0
    assert zero_concentrated(4.0) == 0.125


def test_epsilon_by_hand() -> None:
    """noise 10: rho 0.02; at delta e^-2, 0.02 + 2 sqrt(0.02 * 2) = 0.42."""
    assert epsilon(zero_concentrated(10.0), math.exp(-2)) == pytest.approx(0.42)
    assert epsilon(0.0, 1e-5) == 0.0


def test_epsilon_is_no_less_than_what_the_mechanism_needs() -> None:
    """The exact delta of two Gaussians `2 / noise` deviations apart (arXiv:1805.06530, theorem 8)
    is within the one asked for."""

    def normal(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    for noise in (0.5, 2.0, 10.0):
        for delta in (1e-3, 1e-6):
            apart, e = 2 / noise, epsilon(zero_concentrated(noise), delta)
            exact = normal(apart / 2 - e / apart) - math.exp(e) * normal(-apart / 2 - e / apart)
            assert -1e-12 < exact <= delta
