"""DA-GRPO (arXiv:2602.00166), as published: one policy learns the task and when to ask.

    repeat
        draw G responses per prompt; those that ask share one cloud answer
        A_r = r - mean_group r,   A_c = c - mean_group c          centred, not divided by a spread
        ascend 1/(G-1) * sum_i grad log pi(y_i) * (A_r - lambda * A_c)_i
        lambda <- max(0, lambda + eta * (mean c - tau))

The model, its optimiser and lambda carry over a switch. When it serves, it asks when asking is
its likeliest next token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from understudy import objectives
from understudy.offload.config import Config
from understudy.offload.method import Dual, Method
from understudy.settings import Section

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.scores import Scores


class Price(Section):
    """The price of asking (lambda)."""

    initial: float = Field(
        0.5, ge=0, description="price of asking, in reward, before the first step (lambda_0)"
    )
    rate: float = Field(0.01, ge=0, description="step of the dual ascent (eta)")


class DualAdvantage(Method):
    class Settings(Config):
        price: Price = Field(Price(), description="the price of asking, in reward")

    config: Settings

    def start(self) -> Dual:
        return Dual(price=self.config.price.initial)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        return objectives.dual_advantage(scores.reward, scores.asked, dual.price, scores.valid)

    def next_dual(self, dual: Dual, scores: Scores, budget: float) -> Dual:
        rate = self.config.price.rate
        return Dual(objectives.dual_step(dual.price, scores.usage, budget, rate))
