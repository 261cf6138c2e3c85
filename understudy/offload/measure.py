"""The line that a step leaves in metrics.jsonl. Names follow TRL's where TRL has one."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from understudy.metrics import ask_difficulty_correlation
from understudy.objectives import has_signal
from understudy.offload.learn import Lesson
from understudy.offload.state import State
from understudy.tasks.stream import Phase

_NAMED = ("dual/price", "dual/shift")  # under the field's own names


def step_metrics(state: State, number: int, phase: Phase, lesson: Lesson) -> dict[str, Any]:
    """Plain numbers of the whole team's batch, all taken before the dual moves."""
    batch, scores, dual = lesson.batch, lesson.scores, state.dual
    asked, tokens, local = scores.asked, int(scores.lengths.sum()), ~scores.asked
    rewards = scores.reward[scores.valid]
    levels = torch.tensor([[problem.level] for problem in batch.problems]).expand(asked.shape)
    share = _share
    remembered = {f"dual/{key}": value for key, value in asdict(dual).items()}
    return {
        "step": state.step + 1,
        "phase": number,
        "task": phase.name,
        "reward": float(rewards.mean()) if rewards.numel() else None,
        "reward_std": float(rewards.std()) if rewards.numel() > 1 else None,
        "rewards/valid": share(scores.valid),
        "rewards/undecided": scores.undecided,
        "frac_reward_zero_std": 1.0 - share(has_signal(lesson.advantage)),
        "local_accuracy": share(scores.local_right[local]) if local.any() else None,
        "system_accuracy": share(scores.right),
        "cloud/ask_rate": scores.usage,
        "cloud/expected_ask_rate": scores.expected_usage,
        "cloud/budget": lesson.budget,
        "cloud/price": dual.price,
        "cloud/shift": _number(batch.drawing.ask_shift),
        "cloud/all_ask_groups": share(asked.all(dim=1)),
        "cloud/no_ask_groups": share(~asked.any(dim=1)),
        "cloud/ask_level_correlation": _number(
            ask_difficulty_correlation(asked.cpu().flatten().numpy(), levels.flatten().numpy())
        ),
        "cloud/calls": state.cloud.spend.calls,
        "cloud/failed_calls": state.cloud.spend.failed_calls,
        "cloud/cache_hits": state.cloud.spend.cache_hits,
        "cloud/tokens": state.cloud.spend.prompt_tokens + state.cloud.spend.completion_tokens,
        "cloud/dollars": state.cloud.spend.dollars,
        "completions/mean_length": tokens / max(1, asked.numel()),
        "completions/clipped_ratio": 1.0 - share(scores.finished),
        "entropy": float(scores.entropy.sum()) / max(1, tokens),
        "num_tokens": tokens,
        **{f"rewards/{name}/mean": _mean(values) for name, values in scores.named.items()},
        **{key: value for key, value in remembered.items() if key not in _NAMED},
    }


def _share(mask: Tensor) -> float:
    """The share that is true; 0 of nothing."""
    return float(mask.float().mean()) if mask.numel() else 0.0


def _mean(values: Tensor) -> float | None:
    """Of the values that were not skipped."""
    return _number(float(values.nanmean()))


def _number(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None
