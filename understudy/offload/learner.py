"""The model that learns, as a retention sees it: named tensors and a forward function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.models.policy import Policy
from understudy.models.sampling import Drawing, Prompts, Written
from understudy.types import Example


@dataclass
class PolicyLearner:
    """A policy behind the protocol `understudy.retention.retention.Learner`.

    original: loads the model as it was before training.
    """

    policy: Policy
    original: Callable[[], Policy]
    longest: int  # tokens of an answer

    def tensors(self) -> dict[str, Tensor]:
        return self.policy.tensors()

    def before(self) -> dict[str, Tensor]:
        return {name: tensor.detach() for name, tensor in self.original().tensors().items()}

    def logprobs(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        prompts, written = encoded(self.policy, examples)
        rows = torch.arange(len(examples), device=written.tokens.device)
        never = Drawing(self.longest, ask_shift=float("-inf"))
        return self.policy.score(prompts, written, rows, never)[0], written.mask


def encoded(policy: Policy, examples: Sequence[Example]) -> tuple[Prompts, Written]:
    """Prompts and answers as the model reads and writes them."""
    prompts = policy.prompts([example.question for example in examples])
    return prompts, policy.written([example.answer for example in examples])


def short_enough(policy: Policy, answer: str, longest: int) -> bool:
    """Whether the model could write it itself, in so many tokens with the end."""
    return int(policy.tokens.encode_written([answer])[1].sum()) <= longest


@contextmanager
def holding(policy: Policy, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Within, the policy computes with other tensors, by name, and without gradient."""
    own = policy.tensors()
    kept = {name: own[name].data for name in tensors}
    with torch.no_grad():
        try:
            for name, tensor in tensors.items():
                own[name].data = tensor
            yield
        finally:
            for name, data in kept.items():
                own[name].data = data
