"""The terms of a loss: records of functions over tensors, which a training loop adds up.

A method and a way of holding old skill each give a list of these. Nothing here needs torch until
a term is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from understudy.types import Example

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Portion:
    """Some responses of a batch, read once more by the model that learns.

    logprobs, ask_logprobs, drawn_logprobs, mask: (rows, tokens); advantage: (rows,).
    """

    logprobs: Tensor  # of the tokens drawn, with gradient
    ask_logprobs: Tensor  # of asking instead, with gradient
    drawn_logprobs: Tensor  # of the tokens drawn, as they were when drawn
    mask: Tensor
    advantage: Tensor
    # The logprobs, without gradient, under other tensors of the model, by name.
    under: Callable[[Mapping[str, Tensor]], Tensor]
    # (rows, tokens, width): the model's final states that predict the tokens, with gradient.
    states: Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """A loss of every token, (rows, tokens), and sums over tokens that are worth a metric."""

    losses: Tensor
    sums: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenTerm:
    """A loss of the responses' tokens. All such terms are added and then averaged as one.

    every_row: rows without advantage matter, too. metrics: the names of the sums.
    """

    loss: Callable[[Portion], TokenLoss]
    every_row: bool = False
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskTerm:
    """A loss on how likely each response is to ask, (prompts, group), of the whole batch at once.

    It moves the token's probability, which says nothing of a response that asked in words.
    whole_model: whether it moves all weights, or only the request's own row of the head, which
    then learns to read from the states when to ask and leaves them to the task.
    """

    loss: Callable[[Tensor], Tensor]
    whole_model: bool = True


@dataclass(frozen=True, slots=True)
class AnswerTerm:
    """Given answers, learnt by the mean cross-entropy of their tokens.

    asking: for each answer, (tokens,) the log-probability of asking in place of a token that is to
    stay; None: asking is left alone.
    """

    examples: Sequence[Example]
    weight: float = 1.0
    asking: Sequence[Tensor] | None = None


@dataclass(frozen=True, slots=True)
class WeightTerm:
    """A loss on the model's trained tensors themselves, by name."""

    loss: Callable[[Mapping[str, Tensor]], Tensor]


Term = TokenTerm | AskTerm | AnswerTerm | WeightTerm


def policy_gradient(epsilon: float | None = None, epsilon_high: float | None = None) -> TokenTerm:
    """REINFORCE, or the clipped surrogate of PPO where epsilon is given."""
    if epsilon is None:
        return TokenTerm(_reinforce)

    def clipped(portion: Portion) -> TokenLoss:
        from understudy.objectives import clip_fraction, clipped_policy_loss

        now, old, advantage = portion.logprobs, portion.drawn_logprobs, portion.advantage
        losses = clipped_policy_loss(now, old, advantage, epsilon, epsilon_high)
        low, high = clip_fraction(now, old, advantage, portion.mask, epsilon, epsilon_high)
        tokens = int(portion.mask.sum())
        names = CLIPPED
        return TokenLoss(losses, {names[0]: low * tokens, names[1]: high * tokens})

    return TokenTerm(clipped, metrics=CLIPPED)


CLIPPED = ("clip_ratio/low_mean", "clip_ratio/high_mean")


def _reinforce(portion: Portion) -> TokenLoss:
    from understudy.objectives import reinforce_loss

    return TokenLoss(reinforce_loss(portion.logprobs, portion.advantage))


def divergence(weight: float, reference: Callable[[], Mapping[str, Tensor]]) -> TokenTerm:
    """The KL to the model with other tensors, estimated token by token (`k3_divergence`)."""

    def held(portion: Portion) -> TokenLoss:
        from understudy.objectives import k3_divergence

        distance = k3_divergence(portion.logprobs, portion.under(reference()))
        total = float(distance.detach()[portion.mask].sum())
        return TokenLoss(weight * distance, {"kl": total})

    return TokenTerm(held, every_row=True, metrics=("kl",))
