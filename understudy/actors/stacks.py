"""Weights of several actors as one set of tensors, the actors first, and Adam on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def stacked(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """(rows, ..) by name; all rows have the names of the first."""
    assert rows
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def adam_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    moments: tuple[list[Tensor], list[Tensor]],
    steps: list[Tensor],
    learning_rate: float,
) -> None:
    """One step of Adam as published, in place. steps: those of each tensor, this one included."""
    torch._fused_adam_(
        weights, gradients, *moments, [], steps,
        lr=learning_rate, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
        amsgrad=False, maximize=False,
    )  # fmt: skip
