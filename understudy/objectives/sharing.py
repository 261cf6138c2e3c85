"""What an agent does with the parameters of others: means, anchors, curvatures, interpolations.

A list of tensors is one model. Where a penalty is taken for several agents at once, every tensor
has the agents as its first dimension, and the penalty is one number for each: shape (agents,).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def neighbourhood_mean(own: Tensor, received: Sequence[Tensor]) -> Tensor:
    """FedAvg without a server: the mean over an agent and the neighbours that sent.

    Every tensor has one shape, which is the result's.
    """
    return torch.stack([own, *received]).mean(dim=0)


def proximal_penalty(
    parameters: Sequence[Tensor], anchors: Sequence[Tensor], squared: bool = False
) -> Tensor:
    """FedProx's pull towards the last mean: 1/2 * sum over tensors of ||w - w_anchor||.

    squared: the norm's square, as in the FedProx paper (arXiv:1812.06127); the plain norm is what
    the authors of arXiv:2405.17466 run. Tensors are (agents, ...); returns (agents,). At the
    anchor itself the plain norm passes no gradient on.
    """
    distances = torch.stack(
        [(w - anchor).flatten(1).norm(dim=1) for w, anchor in zip(parameters, anchors, strict=True)]
    )
    return (distances.square() if squared else distances).sum(dim=0) / 2


def fisher_diagonal(gradients: Tensor) -> Tensor:
    """The diagonal of the empirical Fisher information: the mean square of samples' gradients.

    gradients: (samples, ...) of the log-likelihood; returns (...).
    """
    return gradients.square().mean(dim=0)


def curvature_target(
    fishers: Sequence[Tensor], parameters: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """(precision, centre) of FedCurv's sum over neighbours j of F_j * (theta - theta_j)^2.

    That sum is precision * (theta - centre)^2 and a constant, with precision = sum_j F_j and
    centre = sum_j F_j theta_j / precision: however many neighbours there are, one pair is kept.
    Where no neighbour cares (precision 0) the centre is 0.
    """
    weights = torch.stack(list(fishers))
    precision = weights.sum(dim=0)
    weighted = (weights * torch.stack(list(parameters))).sum(dim=0)
    centre = torch.where(precision > 0, weighted / precision.clamp(min=1e-38), 0.0)
    return precision, centre


def curvature_penalty(
    parameters: Sequence[Tensor], precisions: Sequence[Tensor], centres: Sequence[Tensor]
) -> Tensor:
    """FedCurv's penalty without its constant (arXiv:1910.07796). Tensors are (agents, ...);
    returns (agents,)."""
    terms = [
        (precision * (w - centre).square()).flatten(1).sum(dim=1)
        for w, precision, centre in zip(parameters, precisions, centres, strict=True)
    ]
    return torch.stack(terms).sum(dim=0)


def fisher_interpolation(
    own: Tensor, mean: Tensor, fisher: Tensor, temperature: float = 1.0
) -> Tensor:
    """FedFish as arXiv:2405.17466 means it: F * own + (1 - F) * mean, F = softmax(fisher / t).

    The softmax runs over all entries of the tensor, so F sums to 1 in it: a large tensor stays
    close to the mean but where its own data care most. All three have one shape.
    """
    kept = torch.softmax(fisher.flatten() / temperature, dim=0).view_as(fisher)
    return kept * own + (1 - kept) * mean
