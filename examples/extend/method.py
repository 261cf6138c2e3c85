"""A method of your own: the baseline of a response is the mean reward of the others (RLOO).

repeat
    draw G responses per prompt; those that ask share one cloud answer
    A_i = (r_i - p c_i) - mean of the others' (r_j - p c_j)      at a fixed price p of asking
    ascend sum_i grad log pi(y_i) * A_i

understudy train examples/extend/method.py:LeaveOneOut --out runs/rloo --set price=0.2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from understudy.offload.config import Config
from understudy.offload.method import Dual, Method

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.scores import Scores


class LeaveOneOut(Method):
    """RLOO (arXiv:2402.14740) with a fixed price of asking."""

    class Settings(Config):
        price: float = Field(0.2, ge=0, description="what one call costs, in units of reward")

    config: Settings

    def start(self) -> Dual:
        return Dual(price=self.config.price)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        worth = (scores.reward - dual.price * scores.asked) * scores.valid
        others = scores.valid.sum(dim=1, keepdim=True) - scores.valid.float()
        baseline = (worth.sum(dim=1, keepdim=True) - worth) / others.clamp(min=1)
        return (worth - baseline) * scores.valid
