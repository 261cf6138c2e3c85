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

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from understudy.objectives import dual_advantage, dual_step
from understudy.offload.config import Config
from understudy.offload.method import Dual, Method, Serving, Unregularised
from understudy.offload.scores import Scores

DEFAULTS: dict[str, Any] = {}


@dataclass(frozen=True)
class DualAdvantage(Unregularised):
    config: Config
    serving: Serving = "own"

    def start(self) -> Dual:
        return Dual(price=self.config.price.initial)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        return dual_advantage(scores.reward, scores.asked, dual.price, scores.valid)

    def next_dual(self, dual: Dual, scores: Scores, budget: float) -> Dual:
        return Dual(dual_step(dual.price, scores.usage, budget, self.config.price.rate))


METHOD: type[Method] = DualAdvantage
