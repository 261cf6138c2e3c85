"""A router in one file: asks where the local answer's tokens were uncertain.

    understudy eval runs/first --router examples/extend/router.py:MeanEntropy
    understudy train dagrpo --out runs/new --set router=examples/extend/router.py:MeanEntropy

The base class turns scores into a threshold: fitted to the budget on validation questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from understudy.routing.router import ThresholdRouter

if TYPE_CHECKING:
    from understudy.routing.evidence import Evidence, FloatArray


class MeanEntropy(ThresholdRouter):
    needs: ClassVar = ("mean_entropy",)
    score_name: ClassVar = "the mean entropy of its answer"

    def scores(self, evidence: Evidence) -> FloatArray:
        return evidence.mean_entropy
