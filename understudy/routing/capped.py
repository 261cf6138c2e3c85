"""The model's own request, as long as the share of questions asked allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from understudy.routing.router import RequestRouter

if TYPE_CHECKING:
    from understudy.routing.evidence import Decisions, Evidence


class Capped(RequestRouter):
    """Of all the questions given, requests beyond the budget's share are answered locally.

    First come, first served. A question alone is no share of anything: it may ask.
    """

    by_margin: ClassVar[bool] = True

    def decisions(self, evidence: Evidence) -> Decisions:
        import numpy as np

        wants = evidence.margin > self.threshold
        if len(wants) == 1:
            return wants
        return wants & (np.cumsum(wants) / len(wants) <= self.budget)  # 0.29 * 100 is 28.999...
