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

from understudy.config import Config
from understudy.objectives import batch_std_advantage, centre, group_std_advantage
from understudy.offload.method import Dual, Serving
from understudy.offload.scores import Scores

DEFAULTS: dict[str, Any] = {"scale_rewards": "group", "loss_type": "grpo"}
_NEVER = float("-inf")


def scaled_advantage(reward: Tensor, valid: Tensor, scale_rewards: str) -> Tensor:
    """The centred reward, divided by what the setting names."""
    if scale_rewards == "group":
        return group_std_advantage(reward, valid)
    return batch_std_advantage(reward, valid) if scale_rewards == "batch" else centre(reward, valid)


@dataclass(frozen=True)
class TaskOnly:
    config: Config
    serving: Serving = "random"

    def start(self) -> Dual:
        return Dual(price=0.0, shift=_NEVER)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        return scaled_advantage(scores.reward, scores.valid, self.config.scale_rewards)

    def regulariser(
        self, ask_probability: Tensor, scores: Scores, dual: Dual, budget: float
    ) -> None:
        return None

    def next_dual(self, dual: Dual, scores: Scores, budget: float) -> Dual:
        return dual


METHOD = TaskOnly
