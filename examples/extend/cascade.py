"""A cascade in one file: the local model answers several times; the cloud is asked where its
answers disagree.

    understudy eval runs/first --router examples/extend/cascade.py:Cascade

To know whether it should ask, this router must generate. What that takes is charged to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from understudy.routing.router import ThresholdRouter

if TYPE_CHECKING:
    from understudy.routing.evidence import Evidence, FloatArray, Generate


class Cascade(ThresholdRouter):
    """Scores by the share of sampled answers that end otherwise than the greedy one."""

    class Settings(ThresholdRouter.Settings):
        samples: int = Field(3, ge=1, description="answers drawn beside the greedy one")
        temperature: float = Field(1.0, gt=0, description="at which they are drawn")

    needs: ClassVar = ("questions", "answers", "mean_entropy")
    gathers: ClassVar = ("disagreement",)
    score_name: ClassVar = "the share of its answers that disagree"

    def gather(self, evidence: Evidence, generate: Generate) -> Evidence:
        import numpy as np

        settings, disagree, cost = self.settings, np.zeros(len(evidence)), evidence.gathered
        assert isinstance(settings, Cascade.Settings)
        for seed in range(settings.samples):
            how = {"temperature": settings.temperature, "seed": seed}  # beside what ends an answer
            again = (replace(each.options, **how) for each in evidence.questions)
            questions = zip(evidence.questions, again, strict=True)
            drawn = generate([replace(each, options=options) for each, options in questions])
            pairs = zip(drawn.texts, evidence.answers, strict=True)
            disagree += [conclusion(text) != conclusion(answer) for text, answer in pairs]
            cost += drawn.cost
        signals = {**evidence.signals, "disagreement": disagree / settings.samples}
        return replace(evidence, signals=signals, gathered=cost)

    def scores(self, evidence: Evidence) -> FloatArray:
        return evidence.signals["disagreement"] + evidence.mean_entropy / 1e3  # for ties


def conclusion(text: str) -> str:
    """What an answer comes to: its last word."""
    return (text.split() or [""])[-1].lower()
