"""GRPO (arXiv:2402.03300) on the task alone: the local model never asks.

    repeat
        draw G responses per prompt, asking forbidden
        A = (r - mean_group r) / (std_group r + eps)
        descend the policy loss

When it serves, the budget's share of questions is sent to the cloud at random: the baseline that
every way of choosing must beat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from understudy import objectives
from understudy.offload.config import LOSS_TYPE, ROUTER, Config, LossType
from understudy.offload.method import Dual, Method
from understudy.offload.rewards import RewardConfig
from understudy.routing import ROUTERS
from understudy.settings import Kinds, KindSection

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.scores import Scores

_NEVER = float("-inf")


class TaskOnly(Method):
    class Settings(Config):
        router: Annotated[KindSection, Kinds(ROUTERS, "random")] = Field(
            "random", validate_default=True, description=ROUTER
        )
        loss_type: LossType = Field("grpo", description=LOSS_TYPE)
        scale_rewards: Literal["none", "group", "batch"] = Field(
            "group", description="what the centred advantage is divided by"
        )

        @model_validator(mode="after")
        def _asks_nothing(self) -> Self:
            """Refuse what is about answers of the cloud: in training nothing is asked."""
            for name, value, unset in (
                ("distill", self.distill, 0.0),
                ("reward.cloud", self.reward.cloud, RewardConfig().cloud),
            ):
                if value != unset:
                    raise ValueError(
                        f"{name}={value} has no effect: this recipe asks nothing in training; "
                        "leave it out"
                    )
            return self

    config: Settings

    def start(self) -> Dual:
        return Dual(price=0.0, shift=_NEVER)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        return objectives.scaled_advantage(scores.reward, self.config.scale_rewards, scores.valid)
