"""How much each weight matters to what a learner has just seen."""

from __future__ import annotations

from copy import copy

from torch import Tensor
from torch.func import grad, vmap

from understudy.objectives import fisher_diagonal
from understudy.share.learner import Learner
from understudy.share.training import Examples, Stack

_NAMES = ("modules.weight", "modules.bias")
_AT_ONCE = 64  # samples whose gradients are held


def fisher_of(learner: Learner, examples: Examples) -> dict[str, Tensor]:
    """The diagonal of the empirical Fisher information of the first modules' weights, by name;
    labels are the true ones, and there is no dropout."""
    stack = Stack([learner])

    def likelihood(weights: dict[str, Tensor], x: Tensor, label: Tensor, task: Tensor) -> Tensor:
        one = copy(stack)
        one.weights = stack.weights | weights
        batch = Examples(x[None, None], label[None, None], task[None, None])
        logprobs = one.logits(batch, "exam", None)[0, 0].log_softmax(dim=0)
        return logprobs.gather(0, label[None])[0]

    weights = {name: stack.weights[name] for name in _NAMES}
    each = vmap(grad(likelihood), in_dims=(None, 0, 0, 0), chunk_size=_AT_ONCE)
    gradients = each(weights, examples.x, examples.label, examples.task)
    return {name: fisher_diagonal(gradients[name][:, 0])[: learner.first] for name in _NAMES}
