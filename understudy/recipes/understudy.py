"""Ours: the rate is held where it is drawn, the price only says which questions deserve a call.

    repeat
        draw G responses per prompt with the request's logit shifted by s
        A = (r - mean_group r) - lambda * (c - mean_group c)
        ascend 1/(G-1) * sum_i grad log pi_s(y_i) * A_i
        descend KL(p* || p), p* the best use of the budget     the guide: which questions to ask
        descend the cross-entropy of verified cloud answers
        lambda <- slope of reward on asking within groups      the marginal value of a call
        s      <- s + step towards  mean P(ask; s) = min(tau, share of local failures)

docs/understudy.md derives each line; `price.rule`, `price.shift`, `price.guide`, `price.anchor`,
`price.spare` and `distill` switch each part off or to its predecessor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from understudy.objectives import (
    LARGEST_SHIFT,
    ask_guide,
    ask_targets,
    clearing_price,
    dual_advantage,
    logit_shift,
    proportional_integral_step,
    rate_anchor,
)
from understudy.offload.config import Config
from understudy.offload.method import Method, Serving
from understudy.offload.scores import Scores

DEFAULTS: dict[str, Any] = {"price": {"rate": 0.02, "gain": 1.0}, "distill": 0.5}
# A batch's own estimate of the right shift is noisy; half of it is taken.
_SHIFT_STEP = 0.5


@dataclass(frozen=True, slots=True)
class Market:
    """The dual variables and the smoothed quantities that they follow."""

    price: float
    shift: float = 0.0
    integral: float = 0.0
    usage: float | None = None
    covariance: float = 0.0
    variance: float = 0.0
    failures: float = 1.0


@dataclass(frozen=True)
class Understudy:
    config: Config
    serving: Serving = "calibrated"

    def start(self) -> Market:
        initial = self.config.price.initial
        return Market(price=initial, integral=initial)

    def advantage(self, scores: Scores, dual: Market) -> Tensor:
        return dual_advantage(scores.reward, scores.asked, dual.price, scores.valid)

    @property
    def regularises(self) -> bool:
        return self.config.price.anchor > 0 or self.config.price.guide > 0

    def regulariser(
        self, ask_probability: Tensor, scores: Scores, dual: Market, budget: float
    ) -> Tensor:
        setting, target = self.config.price, self._target(dual.failures, budget)
        terms = []
        if setting.anchor > 0:
            terms.append(setting.anchor * rate_anchor(ask_probability.mean(), target))
        if setting.guide > 0:
            gain, known = gain_of_asking(scores)
            wanted = ask_targets(gain[known], target, setting.guide_temperature)
            terms.append(setting.guide * ask_guide(ask_probability[known], wanted))
        return torch.stack(terms).sum()

    def next_dual(self, dual: Market, scores: Scores, budget: float) -> Market:
        setting, keep = self.config.price, self.config.price.smoothing
        failures = keep * dual.failures + (1 - keep) * local_failures(scores)
        usage = scores.usage
        if dual.usage is not None:
            usage = keep * dual.usage + (1 - keep) * usage
        target = self._target(failures, budget)
        gained, spread = clearing_price(scores.reward, scores.asked, scores.valid)
        covariance = keep * dual.covariance + gained
        variance = keep * dual.variance + spread
        if setting.rule == "clearing":
            integral = dual.integral
            slope = covariance / variance if variance > 0 else dual.price
            price = min(max(slope, 0.0), setting.maximum)
        else:
            price, integral = proportional_integral_step(
                dual.integral, usage - target, setting.gain, setting.rate, setting.maximum
            )
        shift = dual.shift
        if setting.shift and budget > 0:  # without a budget nobody asks, whatever the shift
            # The mean over tokens at which every response asks `target` times.
            chances = scores.token_ask_probability
            shift += _SHIFT_STEP * logit_shift(
                chances, target * scores.asked.numel() / len(chances)
            )
            shift = min(max(shift, -LARGEST_SHIFT), LARGEST_SHIFT)
        return Market(price, shift, integral, usage, covariance, variance, failures)

    def _target(self, failures: float, budget: float) -> float:
        """The budget is a bound: no more is asked than the local model gets wrong."""
        return min(budget, failures) if self.config.price.spare else budget


def local_failures(scores: Scores) -> float:
    """The share of prompts that the local model gets wrong, each by its own answers in the group.

    A group in which every response asked says nothing good about the local model: it counts as
    wrong.
    """
    answered = (~scores.asked).sum(dim=1)
    right = scores.local_right.sum(dim=1) / answered.clamp(min=1)
    return float(1.0 - right.mean())


def gain_of_asking(scores: Scores) -> tuple[Tensor, Tensor]:
    """(gain, known), each (prompts,): the cloud's reward less the local model's mean reward.

    Unknown where no response of the group answered by itself, or none got a reply.
    """
    answered, helped = scores.valid & ~scores.asked, scores.valid & scores.asked
    local = (scores.reward * answered).sum(dim=1) / answered.sum(dim=1).clamp(min=1)
    cloud = (scores.reward * helped).sum(dim=1) / helped.sum(dim=1).clamp(min=1)
    return cloud - local, answered.any(dim=1) & helped.any(dim=1)


METHOD: type[Method] = Understudy
