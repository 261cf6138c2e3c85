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

from understudy import objectives
from understudy.offload.config import Config
from understudy.offload.method import Dual, Method

if TYPE_CHECKING:
    from understudy.offload.experience import Experience, Source
    from understudy.offload.scores import Scores
    from understudy.types import Problem


class Lapo(Method):
    """Changes prompts and rewards, and remembers how long right answers are."""

    class Settings(Config):
        length_weight: float = Field(0.3, ge=0, description="of keeping to the length")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.usual = [0.5 * config.max_completion_length] * 6  # by level

    def experience(self, source: Source, problems: list[Problem], dual: Dual) -> Experience:
        wanted = [self.usual[problem.level] for problem in problems]
        texts = [f"{n:.0f}. {p.prompt}" for n, p in zip(wanted, problems, strict=True)]
        drawn = source.draw(problems, texts)
        scores, right = drawn.scores, drawn.scores.local_right
        length = scores.reward.new_tensor(wanted)[:, None]
        close = right * (1 - (scores.lengths / length - 1).abs().clamp(max=1))
        for i in right.any(dim=1).nonzero().flatten().tolist():
            off = float(scores.lengths[i][right[i]].float().mean()) - wanted[i]
            self.usual[problems[i].level] += 0.1 * off
        reward = scores.reward + self.config.length_weight * close
        return replace(drawn, scores=replace(scores, reward=reward))

    def advantage(self, scores: Scores, dual: Dual) -> torch.Tensor:
        return objectives.centre(scores.reward, scores.valid)

    def tensors(self) -> Mapping[str, torch.Tensor]:
        return {"usual": torch.tensor(self.usual, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.usual = tensors["usual"].tolist()
