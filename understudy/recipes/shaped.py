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

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from understudy import objectives
from understudy.offload.config import LOSS_TYPE, Config, LossType
from understudy.offload.method import Dual, Method
from understudy.settings import Section

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.scores import Scores


class Price(Section):
    """The price of asking."""

    initial: float = Field(0.5, ge=0, description="price of asking, in reward; stays as it is")


class ShapedReward(Method):
    class Settings(Config):
        price: Price = Field(Price(), description="the price of asking, in reward")
        loss_type: LossType = Field("grpo", description=LOSS_TYPE)
        scale_rewards: Literal["none", "group", "batch"] = Field(
            "group", description="what the centred advantage is divided by"
        )

    config: Settings

    def start(self) -> Dual:
        return Dual(price=self.config.price.initial)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        shaped = scores.reward - dual.price * scores.asked
        return objectives.scaled_advantage(shaped, self.config.scale_rewards, scores.valid)
