"""Which of another agent's tasks, classes or instances are worth having."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.types import QueryScore


def class_overlap(mine: Collection[int], theirs: Collection[int]) -> float:
    """Intersection over union of two tasks' classes; 0 where neither has any."""
    union = set(mine) | set(theirs)
    return len(set(mine) & set(theirs)) / len(union) if union else 0.0


def leep(probabilities: Tensor, labels: Tensor) -> float:
    """LEEP (arXiv:2002.12462): how well a model of another task would tell these labels apart.

    With z the other task's classes: P(y, z) = mean of p_i(z) over the samples of class y, times
    that class's share; P(y | z) = P(y, z) / sum_y P(y, z); the score is the mean over i of
    log sum_z P(y_i | z) p_i(z). At most 0; higher is better. probabilities: (samples, z);
    labels: (samples,).
    """
    p = probabilities.double()
    _, local = labels.unique(return_inverse=True)
    joint = torch.zeros(int(local.max()) + 1, p.shape[1], dtype=p.dtype)
    joint.index_add_(0, local, p / len(p))
    conditional = joint / joint.sum(dim=0).clamp(min=1e-300)
    return float((conditional[local] * p).sum(dim=1).log().mean())


def nearest(queries: Tensor, candidates: Tensor, k: int) -> Tensor:
    """The k candidates of largest cosine with each query, nearest first; ties to the earlier.

    queries: (n, features); candidates: (m, features); returns indices (n, min(k, m)).
    """
    cosine = F.normalize(queries, dim=1) @ F.normalize(candidates, dim=1).T
    order = torch.sort(cosine, dim=1, descending=True, stable=True).indices
    return order[:, :k]


def query_scores(logits: Tensor, labels: Tensor, kind: QueryScore) -> Tensor:
    """How much a labelled instance is in need of others like it: higher is needier.

    logits: (samples, classes); labels: (samples,); returns (samples,).
    """
    logprobs = logits.log_softmax(dim=1)
    if kind == "cross_entropy":
        return -logprobs.gather(1, labels[:, None]).squeeze(1)
    if kind == "entropy":
        return -(logprobs.exp() * logprobs).sum(dim=1)
    best = logprobs.exp().topk(min(2, logits.shape[1]), dim=1).values
    if kind == "least_confidence":
        return 1 - best[:, 0]
    return best[:, -1] - best[:, 0]  # the margin, turned round


def largest_remainder(worth: Sequence[float], total: int) -> list[int]:
    """`total` split into whole numbers in proportion to `worth`; equally where nothing has any.

    Each share is rounded down, and what is left goes to the largest remainders, the earlier of
    equal ones first.
    """
    if not worth:
        return []
    weights = list(worth) if sum(worth) > 0 else [1.0] * len(worth)
    exact = [weight * total / sum(weights) for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares
