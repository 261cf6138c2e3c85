"""The model's request above a threshold that is fitted to the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from understudy.routing.evidence import Outcomes
from understudy.routing.router import RequestRouter, ThresholdRouter

if TYPE_CHECKING:
    from understudy.routing.evidence import Evidence, FloatArray


class Calibrated(ThresholdRouter):
    """Scores by the lead of the request over every other token."""

    by_margin: ClassVar[bool] = True

    score_name: ClassVar[str] = RequestRouter.score_name

    def scores(self, evidence: Evidence) -> FloatArray:
        return evidence.margin


def compared_threshold(evidence: Evidence, outcomes: Outcomes, budget: float) -> float:
    """The threshold on the margin at which recipes are compared: fitted alike for each of them,
    whatever its router. It goes by what fails locally, and not by the cloud."""
    import numpy as np

    unknown = np.full(len(evidence), np.nan)
    router = Calibrated(Calibrated.Settings(kind="calibrated"))
    return router.fit(evidence, Outcomes(outcomes.local_right, unknown), budget).threshold
