"""The model's request above a threshold that is fitted to the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from understudy.routing.router import Router, ThresholdRouter

if TYPE_CHECKING:
    from understudy.routing.evidence import Evidence, FloatArray


class Calibrated(ThresholdRouter):
    """Scores by the lead of the request over every other token."""

    score_name: ClassVar[str] = "its lead for asking"

    def scores(self, evidence: Evidence) -> FloatArray:
        return evidence.margin


def calibrated_beside(router: Router) -> Calibrated:
    """The calibrated router that others are compared with: itself, if it is one."""
    if type(router) is Calibrated:  # a subclass may score otherwise
        return router
    return Calibrated(Calibrated.Settings(kind="calibrated"))
