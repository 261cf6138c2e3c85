"""GRPO (arXiv:2402.03300) on the task alone: the local model never asks.

    repeat
        draw G responses per prompt, asking forbidden
        A = (r - mean_group r) / (std_group r + eps)
        descend the policy loss

When it serves, the budget's share of questions is sent to the cloud at random: the baseline that
every way of choosing must beat.
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
_NEVER = float("-inf")


@dataclass(frozen=True)
class TaskOnly(Unregularised):
    config: Config
    serving: Serving = "random"

    def start(self) -> Dual:
        return Dual(price=0.0, shift=_NEVER)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        return scaled_advantage(scores.reward, self.config.scale_rewards, scores.valid)

    def next_dual(self, dual: Dual, scores: Scores, budget: float) -> Dual:
        return dual


METHOD: type[Method] = TaskOnly
