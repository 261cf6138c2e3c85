"""What is wrong in a router of one's own is one line that says what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.routing.test_routers import evidence, outcomes
from understudy.errors import ConfigError
from understudy.routing.router import ThresholdRouter, build_router, chosen_router

OWN_FILE = """
from pydantic import Field
from understudy.routing.router import ThresholdRouter

class Longest(ThresholdRouter):
    class Settings(ThresholdRouter.Settings):
        weight: int = Field(ge=1)

    needs = NEEDS

    def scores(self, evidence):
        return [self.settings.weight * len(question.prompt) for question in evidence.questions]
"""


def own_file(folder: Path, needs: str = '("questions",)') -> str:
    path = folder / "longest.py"
    path.write_text(OWN_FILE.replace("NEEDS", needs))
    return f"{path}:Longest"


class Scored(ThresholdRouter):
    given: ClassVar[Any] = ()

    def scores(self, evidence: Any) -> Any:
        return self.given


def scored(given: Any) -> ThresholdRouter:
    kind = type("Given", (Scored,), {"given": given})
    return kind(ThresholdRouter.Settings(kind="given"))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([1.0, 2.0], r"router Given: scores has the shape \(2,\) for 5 questions"),
        ([0.0, float("nan"), 0.0, float("nan"), 0.0], "router Given: 2 of 5 scores are NaN"),
    ],
)
def test_scores_that_are_no_number_for_each_question_are_refused(given: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        scored(given).fit(evidence(), outcomes(), 0.4)
    with pytest.raises(ConfigError, match=reason):
        scored(given).decisions(evidence())


def test_scores_may_be_a_list() -> None:
    fitted = scored([5, 4, 3, 2, 1]).fit(evidence(), outcomes(np.zeros(5)), 0.75)
    assert fitted.decisions(evidence()).tolist() == [True] + [False] * 4


def test_a_router_given_by_name_takes_settings(tmp_path: Path) -> None:
    name = own_file(tmp_path)
    with pytest.raises(ConfigError, match=r"router\.weight"):
        chosen_router(name)
    router = build_router(chosen_router({"kind": name, "weight": 3}))
    assert list(router.scores(evidence([0.0]))) == [3 * len("question 0")]


def test_a_need_that_is_no_evidence_is_refused(tmp_path: Path) -> None:
    name = own_file(tmp_path, '("answer_length",)')
    with pytest.raises(ConfigError, match="'answer_length', which is no evidence; use questions"):
        build_router(chosen_router({"kind": name, "weight": 1}))


def test_a_threshold_router_with_settings_of_its_own_base_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "from understudy.routing.router import ThresholdRouter\n"
        "from understudy.settings import KindSection\n\n\n"
        "class Own(ThresholdRouter):\n"
        "    class Settings(KindSection):\n"
        "        weight: int = 1\n"
    )
    with pytest.raises(ConfigError, match=r"router Own: .* subclass of ThresholdRouter\.Settings"):
        build_router(chosen_router(f"{path}:Own"))
