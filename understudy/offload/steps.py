"""What a training step leaves: a line in metrics.jsonl, and one in timings.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from understudy.plain import from_plain
from understudy.run import RunDirectory

# Fields that stand in the file under another name, which follows TRL's where TRL has one.
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
    "formed": "completions/formed",
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
    formed: float | None
    mean_length: float
    clipped_ratio: float
    entropy: float
    num_tokens: int
    rewards: Mapping[str, float | None]  # of the user's own functions, by name
    dual: Mapping[str, Any]  # what the method remembers beside price and shift
    learnt: Mapping[str, float]  # loss, gradient, and what the loss's terms say

    def to_line(self) -> dict[str, Any]:
        """As it stands in the file: keys on one level."""
        plain = {key: getattr(self, name) for name, key in _keys().items()}
        rewards = {f"rewards/{name}/mean": value for name, value in self.rewards.items()}
        dual = {f"dual/{name}": value for name, value in self.dual.items()}
        return plain | rewards | dual | dict(self.learnt)

    @classmethod
    def from_line(cls, line: Mapping[str, Any], file: object) -> StepMetrics:
        """What `to_line` gave. file: where the line is from, for the refusal of another form."""
        return from_plain(cls, _by_field(line), file)


@dataclass(frozen=True, slots=True)
class StepTimings:
    """Apart from the metrics: every run has others."""

    step: int
    step_time: float  # seconds by the clock


def read_steps(run: RunDirectory) -> list[StepMetrics]:
    """Every step that a run has taken."""
    return [StepMetrics.from_line(line, run.metrics) for line in run.metric_lines()]


def _keys() -> dict[str, str]:
    """The key in the file of every field that has one of its own."""
    names = [each.name for each in fields(StepMetrics)]
    return {
        name: _KEYS.get(name, name) for name in names if name not in ("rewards", "dual", "learnt")
    }


def _by_field(line: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a line under the names of the fields."""
    keys = _keys()
    found: dict[str, Any] = {name: line[key] for name, key in keys.items() if key in line}
    rewards, dual, learnt = {}, {}, {}
    for key, value in line.items():
        if key in keys.values():
            continue
        if key.startswith("dual/"):
            dual[key.removeprefix("dual/")] = value
        elif key.startswith("rewards/"):
            rewards[key.removeprefix("rewards/").removesuffix("/mean")] = value
        else:
            learnt[key] = value
    return found | {"rewards": rewards, "dual": dual, "learnt": learnt}
