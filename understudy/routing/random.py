"""A share of questions, chosen by chance: what every way of choosing must beat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Self

from understudy.routing.router import RequestRouter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from understudy.routing.evidence import Decisions, Evidence, FloatArray, Need, Outcomes


class Random(RequestRouter):
    """The model never asks by itself. An examination takes the expectation over the chance."""

    needs: ClassVar[Sequence[Need]] = ()

    def fit(self, evidence: Evidence, outcomes: Outcomes, budget: float) -> Self:
        return replace(self, budget=budget)

    def scores(self, evidence: Evidence) -> FloatArray:
        import numpy as np

        return np.zeros(len(evidence))

    def decisions(self, evidence: Evidence) -> Decisions:
        import numpy as np

        return np.full(len(evidence), self.budget)

    def why(self, evidence: Evidence) -> str:
        return f"it never asks by itself; a share of {self.budget:.2f} is sent at random"
