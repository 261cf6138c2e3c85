"""How much each weight matters to what a learner has just seen."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from understudy.objectives import fisher_diagonal
from understudy.share.learner import Learner
from understudy.share.training import Examples, Stack

_AT_ONCE = 64  # samples whose gradients are taken together


def fisher_of(learner: Learner, examples: Examples) -> dict[str, Tensor]:
    """The diagonal of the empirical Fisher information of the first modules' weights, by name;
    labels are the true ones, and there is no dropout."""
    stack, names = Stack([learner]), learner.named("modules")
    parts = zip(
        examples.x.split(_AT_ONCE),
        examples.label.split(_AT_ONCE),
        examples.task.split(_AT_ONCE),
        strict=True,
    )
    total = {name: torch.zeros_like(learner.weights[name][: learner.first]) for name in names}
    for part in parts:
        gradients = _gradients(stack, names, Examples(*part))
        for name, gradient in zip(names, gradients, strict=True):
            share = len(gradient) / len(examples)
            total[name] += share * fisher_diagonal(gradient[:, : learner.first])
    return total


def _gradients(stack: Stack, names: list[str], examples: Examples) -> tuple[Tensor, ...]:
    """Of each sample's log-likelihood, (samples, ..): every sample is a row with the one learner's
    weights."""
    rows = copy(stack)
    rows.weights = {
        name: weight.expand(len(examples), *weight.shape[1:])
        for name, weight in stack.weights.items()
    }
    wanted = [rows.weights[name].requires_grad_() for name in names]
    batch = Examples(examples.x[:, None], examples.label[:, None], examples.task[:, None])
    logprobs = rows.logits(batch, "exam", None)[:, 0].log_softmax(dim=1)
    return torch.autograd.grad(logprobs.gather(1, examples.label[:, None]).sum(), wanted)
