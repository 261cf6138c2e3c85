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

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from understudy.objectives import centre, gapg_filter
from understudy.offload.config import Config
from understudy.offload.method import Dual, Method, Serving, Unregularised
from understudy.offload.scores import Scores

# alpha_c of the paper's 1.5B model.
DEFAULTS: dict[str, Any] = {"reward": {"local": 1.0, "cloud": 0.3}}


@dataclass(frozen=True)
class FilteredPolicyGradient(Unregularised):
    config: Config
    serving: Serving = "capped"

    def start(self) -> Dual:
        return Dual(price=0.0)

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        local_success = scores.local_right.any(dim=1)
        cloud_success = scores.asked.any(dim=1) & scores.cloud_right
        kept = gapg_filter(local_success, cloud_success, self.config.price.filter_ratio)
        return centre(scores.reward, scores.valid) * kept[:, None]

    def next_dual(self, dual: Dual, scores: Scores, budget: float) -> Dual:
        return dual


METHOD: type[Method] = FilteredPolicyGradient
