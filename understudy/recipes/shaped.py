"""Reward shaping inside GRPO: a fixed price of asking, subtracted before normalisation.

    repeat
        draw G responses per prompt; those that ask share one cloud answer
        r' = r - price * c
        A = (r' - mean_group r') / (std_group r' + eps)
        descend the policy loss

The baseline that DA-GRPO argues against: dividing by the group's spread rescales the price, and
cancels it wherever all rewards are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from understudy.objectives import scaled_advantage
from understudy.offload.config import Config
from understudy.offload.method import Dual, Method, Serving, Unregularised
from understudy.offload.scores import Scores

DEFAULTS: dict[str, Any] = {"scale_rewards": "group", "loss_type": "grpo"}


@dataclass(frozen=True)
class ShapedReward(Unregularised):
    config: Config
    serving: Serving = "own"

    def start(self) -> Dual:
        return Dual(price=self.config.price.initial)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        shaped = scores.reward - dual.price * scores.asked
        return scaled_advantage(shaped, self.config.scale_rewards, scores.valid)

    def next_dual(self, dual: Dual, scores: Scores, budget: float) -> Dual:
        return dual


METHOD: type[Method] = ShapedReward
