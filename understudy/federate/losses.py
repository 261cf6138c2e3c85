"""The losses of Fed-LSCL, on tensors alone (arXiv:2508.09489)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Matrices = Mapping[int, tuple[Tensor, Tensor]]  # (A, B) by block: (n, r, inputs), (n, outputs, r)


def masked(logits: Tensor, allowed: Tensor) -> Tensor:
    """Logits of classes that are not asked about are minus infinity.

    logits: (n, classes); allowed: (classes,) or (n, classes), true where a class may be answered.
    """
    return logits.masked_fill(~allowed, -torch.inf)


def masked_cross_entropy(logits: Tensor, label: Tensor, allowed: Tensor) -> Tensor:
    """The mean cross-entropy among the classes allowed: other classes get no gradient.

    logits: (n, classes); label: (n,), each allowed; allowed as in `masked`.
    """
    return F.cross_entropy(masked(logits, allowed), label)


def feature_drift(now: Tensor, before: Tensor) -> Tensor:
    """The mean over samples of ||f_t(x) - f_{t-1}(x)||^2. Both (n, width)."""
    return (now - before).square().sum(dim=1).mean()


def matrix_drift(now: Matrices, before: Matrices) -> Tensor:
    """The mean over samples of sum_l (||A_t - A_{t-1}||^2 + ||B_t - B_{t-1}||^2), l: the blocks."""
    pairs = (
        (one, other) for block in now for one, other in zip(now[block], before[block], strict=True)
    )
    return torch.stack(
        [(one - other).square().flatten(1).sum(dim=1).mean() for one, other in pairs]
    ).sum()


def continual_drift(now: tuple[Tensor, Matrices], before: tuple[Tensor, Matrices]) -> Tensor:
    """SM-CF: what the small network's features and the generator's matrices of old samples have
    moved since the previous task ended. now, before: (features, matrices) of the same samples."""
    return feature_drift(now[0], before[0]) + matrix_drift(now[1], before[1])


def matrix_distance(student: Matrices, teacher: Matrices) -> Tensor:
    """O2D: the mean squared error of a student's matrices to a teacher's, mean over all numbers.

    A and B of all blocks count by their sizes, so that one block more does not change the scale.
    """
    errors, count = [], 0
    for block in teacher:
        for one, other in zip(student[block], teacher[block], strict=True):
            errors.append((one - other).square().sum())
            count += other.numel()
    return torch.stack(errors).sum() / count


def layer_distances(
    weight: Tensor, bias: Tensor, low: Tensor, wanted: Tensor, share: Tensor
) -> Tensor:
    """(s,): sum over rows r of share_r * ||W low_r + bias - wanted_r||^2, of s layers at once.

    weight: (s, outputs, hidden); bias: (s, outputs); low: (s, rows, hidden); wanted: (rows,
    outputs), the same for all layers; share: (s, rows). Written out, so that no layer's outputs
    are made: with W' = [W bias] and l' = [low 1],

        <W'^T W', sum_r share_r l'_r l'_r^T> - 2 sum_r share_r <W'^T wanted_r, l'_r> + ...

    and W'^T wanted of all rows and layers is one product.
    """
    whole, one = torch.cat([weight, bias[..., None]], dim=2), F.pad(low, (0, 1), value=1.0)
    shared = share[..., None] * one
    own = ((whole.mT @ whole) * (shared.mT @ one)).sum(dim=(1, 2))
    across = (shared * torch.einsum("ro,soh->srh", wanted, whole)).sum(dim=(1, 2))
    return own - 2 * across + share @ wanted.square().sum(dim=1)
