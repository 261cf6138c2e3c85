"""The metrics of a training step, from what it drew, asked and learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from understudy.link import Spend
from understudy.metrics import ask_difficulty_correlation
from understudy.objectives import has_signal
from understudy.offload.learn import Objective
from understudy.offload.state import State
from understudy.offload.steps import StepMetrics
from understudy.tasks.stream import Phase


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
    dual = asdict(state.dual)
    kept = {name: dual[name] for name in dual if name not in ("price", "shift")}
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
        formed=_share(scores.formed[local]) if local.any() else None,
        mean_length=tokens / max(1, asked.numel()),
        clipped_ratio=1.0 - _share(scores.finished),
        entropy=float(scores.entropy.sum()) / max(1, tokens),
        num_tokens=tokens,
        rewards={name: _mean(values) for name, values in scores.named.items()},
        dual=kept,
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
