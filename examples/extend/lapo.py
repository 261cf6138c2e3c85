"""LAPO (arXiv:2507.15758), a sketch: the prompt names a length, and the reward asks for it.

repeat
    draw G responses per prompt, with the usual length of right answers in the prompt
    r = r + weight * closeness to that length, for right answers
    usual length <- towards the mean length of right answers, level by level

understudy train examples/extend/lapo.py:Lapo --out runs/lapo --set length_weight=0.3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from understudy.offload.config import Config
from understudy.offload.method import Dual, Method

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.experience import Experience, Source
    from understudy.offload.scores import Scores
    from understudy.types import Problem


class Lapo(Method):
    """Changes prompts and rewards, and remembers how long right answers are."""

    class Settings(Config):
        length_weight: float = Field(0.3, ge=0, description="of keeping to the length")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.usual = torch.full((6,), 0.5 * config.max_completion_length)  # by level

    def experience(self, source: Source, problems: list[Problem], dual: Dual) -> Experience:
        wanted = self.usual[[each.level for each in problems]]
        texts = [f"{n:.0f}. {p.prompt}" for n, p in zip(wanted, problems, strict=True)]
        drawn = source.draw(problems, texts)
        scores, right = drawn.scores, drawn.scores.local_right
        close = right * (1 - (scores.lengths / wanted[:, None] - 1).abs().clamp(max=1))
        for i in right.any(dim=1).nonzero().flatten():
            off = scores.lengths[i][right[i]].float().mean() - wanted[i]
            self.usual[problems[i].level] += 0.1 * off
        reward = scores.reward + self.config.length_weight * close
        return replace(drawn, scores=replace(scores, reward=reward))

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        return scores.reward - scores.reward.mean(dim=1, keepdim=True)

    def tensors(self) -> Mapping[str, Tensor]:
        return {"usual": self.usual}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.usual = tensors["usual"]
