"""One array for many clients' arrays: means, and what few liars cannot move far.

A stack has the clients as its first dimension, (clients, ...); the result has the others.
"""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_mean(stack: Tensor, weights: Tensor) -> Tensor:
    """FedAvg (arXiv:1602.05629): sum_k n_k w_k / sum_k n_k. weights: (clients,), not all zero."""
    shares = (weights / weights.sum()).to(stack.dtype)
    mean: Tensor = torch.tensordot(shares, stack, dims=1)
    return mean


def mean_by_row(stack: Tensor, counts: Tensor) -> Tensor:
    """Each row the mean of the clients that know it: sum_k n_kc w_kc / sum_k n_kc.

    stack: (clients, rows, ...); counts: (clients, rows), what each client knows of each row, from
    0 on. Of rows that nobody knows, the plain mean.
    """
    known = counts.sum(dim=0, keepdim=True) > 0
    weights = torch.where(known, counts, torch.ones_like(counts))
    shares = (weights / weights.sum(dim=0)).to(stack.dtype)
    return torch.einsum("kc...,kc->c...", stack, shares)


def median(stack: Tensor) -> Tensor:
    """Number by number (arXiv:1803.01498); of an even count the mean of the two in the middle."""
    ordered = stack.sort(dim=0).values
    count = len(stack)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def trimmed_mean(stack: Tensor, share: float) -> Tensor:
    """The mean number by number without the least and the greatest `share` of them, rounded up,
    at either end (arXiv:1803.01498); where nothing would be left, the median."""
    count = len(stack)
    cut = min(int(-(-count * share // 1)), (count - 1) // 2)
    return stack.sort(dim=0).values[cut : count - cut].mean(dim=0)
