"""GAPG (arXiv:2509.24050): group-adaptive policy gradient with prompt filtering.

    repeat
        draw G responses per prompt; those that ask share one cloud answer
        r = alpha_a if right alone, alpha_c < alpha_a if the cloud made it right, else 0
        D1 = prompts with a right local response
        D2 = up to rho * |D1| others that the cloud answered right
        on D1 and D2 only: ascend 1/(G-1) * sum_i grad log pi(y_i) * (r_i - mean_group r)

The share of calls that results is about rho / (1 + rho). When it serves, requests over the
allowed share are answered locally.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from understudy import objectives
from understudy.offload.config import ROUTER, Config
from understudy.offload.method import Dual, Method
from understudy.offload.rewards import RewardConfig
from understudy.routing import ROUTERS
from understudy.settings import Kinds, KindSection, Section

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.scores import Scores


class Filter(Section):
    """Which prompts are learnt from."""

    filter_ratio: float = Field(3 / 7, ge=0, description="rho of GAPG's prompt filter")


class Reward(RewardConfig):
    """What a response is worth; help is worth alpha_c of the paper's 1.5B model."""

    cloud: float = Field(0.3, description="right because the cloud was asked")


class FilteredPolicyGradient(Method):
    class Settings(Config):
        router: Annotated[KindSection, Kinds(ROUTERS, "capped")] = Field(
            "capped", validate_default=True, description=ROUTER
        )
        price: Filter = Field(Filter(), description="which prompts are learnt from")
        reward: Reward = Field(Reward(), description="what a response is worth")

    config: Settings

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        local_success = scores.local_right.any(dim=1)
        cloud_success = scores.asked.any(dim=1) & scores.cloud_right
        ratio = self.config.price.filter_ratio
        kept = objectives.gapg_filter(local_success, cloud_success, ratio)
        return objectives.centre(scores.reward, scores.valid) * kept[:, None]
