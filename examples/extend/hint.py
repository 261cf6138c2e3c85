"""HINT (arXiv:2510.09388), a sketch: where a whole group fails, draw it again with a hint.

repeat
    draw G responses per prompt
    groups in which nothing is right: draw again, a hint in the prompt
    learn all of them under the prompts without a hint, the new ones by a weight

understudy train examples/extend/hint.py:Hint --out runs/hint --set hint.weight=0.5
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from understudy import objectives
from understudy.offload.config import Config
from understudy.offload.method import Dual, Method
from understudy.settings import Section

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.experience import Experience, Source
    from understudy.offload.scores import Scores
    from understudy.types import Problem


class HintSettings(Section):
    share: float = Field(0.5, gt=0, le=1, description="the part of the worked answer that is shown")
    weight: float = Field(0.5, ge=0, le=1, description="of an advantage that took a hint")


class Hint(Method):
    """Draws groups that fail again with a hint, and learns them without it."""

    class Settings(Config):
        hint: HintSettings = Field(HintSettings(), description="what helps where all fail")

    config: Settings

    def experience(self, source: Source, problems: list[Problem], dual: Dual) -> Experience:
        drawn = source.draw(problems)
        failed = (~drawn.scores.right.any(dim=1)).nonzero().flatten().tolist()
        if not failed:
            return drawn
        again = source.redraw(drawn, failed, [self.hinted(problems[i]) for i in failed])
        weight = again.scores.reward.new_ones(again.scores.reward.shape)
        weight[failed] = self.config.hint.weight
        return replace(again, weight=weight)

    def hinted(self, problem: Problem) -> str:
        shown = int(self.config.hint.share * len(problem.worked))
        return f"{problem.worked[:shown]} {problem.prompt}"

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        return objectives.centre(scores.reward, scores.valid)
