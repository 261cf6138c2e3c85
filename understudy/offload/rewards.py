"""What a response is worth: its settings, and the user's own reward functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from pydantic import Field, model_validator

from understudy.errors import ConfigError
from understudy.settings import PATH, Section
from understudy.types import Problem


class RewardConfig(Section):
    """What a response is worth."""

    local: float = Field(1.0, description="right by itself")
    cloud: float = Field(1.0, description="right because the cloud was asked")
    format: float = Field(0.0, description="wrong, but with an answer in the right form")
    functions: Annotated[list[str], PATH] = Field(
        [], description="your own reward functions, TRL's signature: module:name or file.py:name"
    )
    weights: list[float] = Field([], description="their weights; none given: 1 each")

    @model_validator(mode="after")
    def _compatible(self) -> RewardConfig:
        if self.weights and len(self.weights) != len(self.functions):
            raise ValueError(
                f"weights={self.weights}: give one for each of functions={self.functions}, or none"
            )
        return self


class Reward(Protocol):
    """A reward function of the user's own."""

    @property
    def name(self) -> str: ...

    def values(
        self, problems: Sequence[Problem], completions: Sequence[str]
    ) -> Sequence[float | None]: ...


def build_rewards(config: RewardConfig) -> tuple[tuple[Reward, float], ...]:
    """The user's own reward functions, with their weights."""
    from understudy.tasks.rewards import load_reward

    weights = config.weights or [1.0] * len(config.functions)
    rewards = [load_reward(spec) for spec in config.functions]
    names = [reward.name for reward in rewards]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(
            f"reward.functions={config.functions}: two are called {min(twice)}; "
            "their metrics go by name, so rename one"
        )
    return tuple(zip(rewards, weights, strict=True))
