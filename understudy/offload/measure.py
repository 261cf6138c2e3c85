"""The line that a step leaves in metrics.jsonl. Names follow TRL's where TRL has one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from understudy.link import Spend
from understudy.metrics import ask_difficulty_correlation
from understudy.objectives import has_signal
from understudy.offload.learn import Objective
from understudy.offload.state import State
from understudy.tasks.stream import Phase

_NAMED = ("dual/price", "dual/shift")  # under the field's own names


# Fields that stand in the file under another name.
_KEYS = {
    "valid": "rewards/valid",
    "undecided": "rewards/undecided",
    "ask_rate": "cloud/ask_rate",
    "expected_ask_rate": "cloud/expected_ask_rate",
    "budget": "cloud/budget",
    "price": "cloud/price",
    "shift": "cloud/shift",
    "all_ask_groups": "cloud/all_ask_groups",
    "no_ask_groups": "cloud/no_ask_groups",
    "ask_level_correlation": "cloud/ask_level_correlation",
    "calls": "cloud/calls",
    "failed_calls": "cloud/failed_calls",
    "cache_hits": "cloud/cache_hits",
    "tokens": "cloud/tokens",
    "dollars": "cloud/dollars",
    "mean_length": "completions/mean_length",
    "clipped_ratio": "completions/clipped_ratio",
}


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Plain numbers of the whole team's batch, all taken before the dual moves."""

    step: int
    phase: int
    task: str
    reward: float | None
    reward_std: float | None
    valid: float
    undecided: int
    frac_reward_zero_std: float
    local_accuracy: float | None
    system_accuracy: float
    ask_rate: float
    expected_ask_rate: float
    budget: float
    price: float
    shift: float | None
    all_ask_groups: float
    no_ask_groups: float
    ask_level_correlation: float | None
    calls: int
    failed_calls: int
    cache_hits: int
    tokens: int
    dollars: float
    mean_length: float
    clipped_ratio: float
    entropy: float
    num_tokens: int
    rewards: Mapping[str, float | None]  # of the user's own functions, by name
    dual: Mapping[str, Any]  # what the method remembers
    learnt: Mapping[str, float]  # loss, gradient, and what the loss's terms say

    def line(self) -> dict[str, Any]:
        """As it stands in the file."""
        plain = {
            _KEYS.get(each.name, each.name): getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("rewards", "dual", "learnt")
        }
        rewards = {f"rewards/{name}/mean": value for name, value in self.rewards.items()}
        dual = {f"dual/{name}": value for name, value in self.dual.items()}
        kept = {key: value for key, value in dual.items() if key not in _NAMED}
        return plain | rewards | kept | dict(self.learnt)


def step_metrics(
    state: State,
    spend: Spend,
    place: tuple[int, Phase],
    objective: Objective,
    learnt: Mapping[str, float],
) -> StepMetrics:
    """place: the number of the phase, and the phase."""
    experience = objective.experience
    batch, scores = experience.batch, experience.scores
    asked, tokens, local = scores.asked, int(scores.lengths.sum()), ~scores.asked
    rewards = scores.reward[scores.valid]
    levels = torch.tensor([[problem.level] for problem in batch.problems]).expand(asked.shape)
    return StepMetrics(
        step=state.step + 1,
        phase=place[0],
        task=place[1].name,
        reward=float(rewards.mean()) if rewards.numel() else None,
        reward_std=float(rewards.std()) if rewards.numel() > 1 else None,
        valid=_share(scores.valid),
        undecided=scores.undecided,
        frac_reward_zero_std=1.0 - _share(has_signal(objective.advantage)),
        local_accuracy=_share(scores.local_right[local]) if local.any() else None,
        system_accuracy=_share(scores.right),
        ask_rate=scores.usage,
        expected_ask_rate=scores.expected_usage,
        budget=experience.budget,
        price=state.dual.price,
        shift=_number(batch.drawing.ask_shift),
        all_ask_groups=_share(asked.all(dim=1)),
        no_ask_groups=_share(~asked.any(dim=1)),
        ask_level_correlation=_number(
            ask_difficulty_correlation(asked.cpu().flatten().numpy(), levels.flatten().numpy())
        ),
        calls=spend.calls,
        failed_calls=spend.failed_calls,
        cache_hits=spend.cache_hits,
        tokens=spend.prompt_tokens + spend.completion_tokens,
        dollars=spend.dollars,
        mean_length=tokens / max(1, asked.numel()),
        clipped_ratio=1.0 - _share(scores.finished),
        entropy=float(scores.entropy.sum()) / max(1, tokens),
        num_tokens=tokens,
        rewards={name: _mean(values) for name, values in scores.named.items()},
        dual=asdict(state.dual),
        learnt=learnt,
    )


def _share(mask: Tensor) -> float:
    """The share that is true; 0 of nothing."""
    return float(mask.float().mean()) if mask.numel() else 0.0


def _mean(values: Tensor) -> float | None:
    """Of the values that were not skipped."""
    return _number(float(values.nanmean()))


def _number(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None
