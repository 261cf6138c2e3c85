"""The losses of Fed-LSCL, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from understudy.federate.losses import (
    continual_drift,
    feature_drift,
    layer_distances,
    masked_cross_entropy,
    matrix_distance,
    matrix_drift,
)

# Two samples, one block, rank 1, two inputs and one output.
A = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]])
B = torch.tensor([[[3.0]], [[1.0]]])
ZERO = {0: (torch.zeros_like(A), torch.zeros_like(B))}


def test_cross_entropy_is_among_the_classes_allowed() -> None:
    logits = torch.tensor([[0.0, 0.0, 9.0], [math.log(3.0), 0.0, 9.0]], requires_grad=True)
    allowed = torch.tensor([True, True, False])
    loss = masked_cross_entropy(logits, torch.tensor([0, 0]), allowed)
    assert loss.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[:, 2].tolist() == [0.0, 0.0]  # what is not asked about is not learnt
    assert logits.grad[0].tolist() == pytest.approx([-0.25, 0.25, 0.0])


def test_with_every_class_allowed_it_is_the_ordinary_one() -> None:
    logits, label = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    found = masked_cross_entropy(logits, label, torch.ones(4, dtype=torch.bool))
    assert torch.equal(found, torch.nn.functional.cross_entropy(logits, label))


def test_the_drift_of_features_and_matrices_is_a_mean_over_samples() -> None:
    now, before = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert feature_drift(now, before).item() == 2.5  # (1 + 4 + 0) / 2
    assert matrix_drift({0: (A, B)}, ZERO).item() == 7.5  # (1 + 4) / 2 + (9 + 1) / 2
    two = matrix_drift({0: (A, B), 5: (A, B)}, {0: ZERO[0], 5: ZERO[0]})
    assert two.item() == 15.0  # blocks add up
    assert continual_drift((now, {0: (A, B)}), (before, ZERO)).item() == 10.0
    assert continual_drift((now, {0: (A, B)}), (now, {0: (A, B)})).item() == 0.0


def test_the_distance_to_a_teacher_is_a_mean_over_all_numbers() -> None:
    assert matrix_distance({0: (A, B)}, ZERO).item() == pytest.approx(15 / 6)
    more = matrix_distance({0: (A, B), 1: (A, B)}, {0: ZERO[0], 1: ZERO[0]})
    assert more.item() == pytest.approx(15 / 6)  # one block more does not change the scale


def test_distances_of_layers_are_those_of_what_they_would_make() -> None:
    weight, bias = torch.tensor([[[2.0]], [[0.0]]]), torch.tensor([[1.0], [1.0]])
    low = torch.tensor([[[1.0], [3.0]], [[5.0], [5.0]]])  # makes 3 and 7; 1 and 1
    wanted, share = torch.tensor([[1.0], [10.0]]), torch.tensor([[0.5, 2.0], [1.0, 0.0]])
    found = layer_distances(weight, bias, low, wanted, share)
    torch.testing.assert_close(found, torch.tensor([0.5 * 4 + 2 * 9, 0.0]))
