"""DQO (arXiv:2410.09302), a sketch: learn from answers on record, with a value of each state.

repeat
    take a right and a wrong answer per prompt from the record; nothing is drawn
    r_T = 1 of a right answer, all other r_t = 0
    descend sum_t (beta * log pi(a_t | s_t) + V(s_t) - r_t - V(s_t+1))^2    V: an own head

understudy train examples/extend/dqo.py:Dqo --out runs/dqo --set entropy=0.1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch.nn import Parameter

from understudy.objectives.terms import Portion, Term, TokenLoss, TokenTerm
from understudy.offload.config import Config
from understudy.offload.method import Dual, Method

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.experience import Experience, Source
    from understudy.offload.scores import Scores
    from understudy.types import Problem


class Dqo(Method):
    """Draws nothing, and has parameters of its own."""

    class Settings(Config):
        entropy: float = Field(0.1, gt=0, description="weight of the entropy (beta of the paper)")

    def prepare(self, width: int) -> None:
        self.head = Parameter(torch.zeros(width))

    def parameters(self) -> Sequence[Parameter]:
        return [self.head]

    def experience(self, source: Source, problems: list[Problem], dual: Dual) -> Experience:
        right = [problem.worked for problem in problems]
        wrong = right[1:] + right[:1]  # as if the record had other answers
        return source.given(problems, list(zip(right, wrong, strict=True)))

    def advantage(self, scores: Scores, dual: Dual) -> Tensor:
        return scores.reward

    def terms(self, experience: Experience, dual: Dual) -> list[Term]:
        return [TokenTerm(self.bellman, every_row=True)]

    def bellman(self, portion: Portion) -> TokenLoss:
        value = (portion.states() @ self.head) * portion.mask
        later = torch.nn.functional.pad(value[:, 1:], (0, 1))
        last = portion.mask & ~torch.nn.functional.pad(portion.mask[:, 1:], (0, 1))
        target = portion.advantage[:, None] * last + later.detach()
        return TokenLoss((self.config.entropy * portion.logprobs + value - target).square())
