"""The routers that ship, by hand: who is asked, and the threshold that a budget becomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import numpy as np
import pytest
from pydantic_core import PydanticCustomError

from understudy.errors import ConfigError
from understudy.routing import ROUTERS
from understudy.routing.calibrated import compared_threshold
from understudy.routing.evidence import Evidence, Outcomes
from understudy.routing.router import Router, ThresholdRouter, build_router, drafts_first
from understudy.settings import Kinds
from understudy.types import Question

# Five questions; the local model is right on the first, third and fifth.
LOCAL = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
MARGIN = np.array([-2.0, 1.0, 3.0, -0.5, -4.0])


def evidence(margin: Any = MARGIN, own_threshold: float = 0.0) -> Evidence:
    margin = np.asarray(margin, dtype=np.float64)
    count, zeros = len(margin), np.zeros(len(margin))
    lengths = np.full(count, 4)
    questions = tuple(Question.of(f"question {i}") for i in range(count))
    return Evidence(questions, ("",) * count, margin, zeros, lengths, lengths, own_threshold)


def outcomes(local: Any = LOCAL) -> Outcomes:
    local = np.asarray(local, dtype=np.float64)
    return Outcomes(local, np.full(len(local), np.nan))


def router(settings: Any) -> Router:
    return build_router(Kinds(ROUTERS, "own").parse(settings))


@pytest.mark.parametrize(
    ("kind", "own_threshold", "budget", "asked"),
    [
        ("own", 0.0, 0.2, [False, True, True, False, False]),
        ("own", -1.0, 0.2, [False, True, True, True, False]),  # shifted: the fourth asks too
        ("own", np.inf, 0.2, [False] * 5),
        ("own", 0.0, 0.0, [False] * 5),  # no budget, no asking
        ("capped", 0.0, 0.2, [False, True, False, False, False]),  # the first that wants to
        ("capped", 0.0, 0.0, [False] * 5),
        ("capped", 0.0, 1.0, [False, True, True, False, False]),
        ("random", 0.0, 0.4, [0.4] * 5),
    ],
)
def test_each_router_decides(
    kind: str, own_threshold: float, budget: float, asked: list[Any]
) -> None:
    given = evidence(own_threshold=own_threshold)
    assert router(kind).fit(given, outcomes(), budget).decisions(given).tolist() == asked


def test_a_cap_admits_all_that_it_allows_and_a_question_alone() -> None:
    everyone = evidence(np.ones(100))
    for percent in range(101):
        fitted = router("capped").fit(everyone, outcomes(np.zeros(100)), percent / 100)
        assert fitted.decisions(everyone).sum() == percent
        assert fitted.decisions(evidence([1.0])).tolist() == [percent > 0]


@pytest.mark.parametrize(
    ("budget", "spare", "share"),
    [(0.3, False, 0.3), (0.3, True, 0.3), (0.8, False, 0.8), (0.8, True, 0.4), (0.05, True, 0.05)],
)
def test_a_threshold_uses_its_share_and_no_more(budget: float, spare: bool, share: float) -> None:
    given = evidence(np.random.default_rng(0).normal(size=10_000))
    right = outcomes(np.arange(10_000) % 5 < 3)  # two in five fail
    fitted = router({"kind": "calibrated", "spare": spare}).fit(given, right, budget)
    # Two standard errors of the share may be kept in hand.
    assert share - 0.01 <= fitted.decisions(given).mean() <= share


@pytest.mark.parametrize(("budget", "threshold"), [(0.0, 1e4), (1.0, -1e4)])
def test_a_budget_of_nothing_or_of_everything_holds_for_any_question(
    budget: float, threshold: float
) -> None:
    calibrated = router({"kind": "calibrated", "spare": False})
    assert calibrated.fit(evidence(), outcomes(), budget).threshold == threshold


def test_a_model_that_fails_nowhere_spares_every_call() -> None:
    assert router("calibrated").fit(evidence(), outcomes(np.ones(5)), 1.0).threshold == 1e4


def test_a_setting_of_another_router_is_refused() -> None:
    assert router({"kind": "calibrated", "spare": False})
    with pytest.raises(PydanticCustomError, match="Extra inputs"):
        router({"kind": "own", "spare": False})
    with pytest.raises(ConfigError, match="did you mean calibrated"):
        router("calibrate")


def test_only_random_needs_no_draft() -> None:
    assert [name for name in ROUTERS if not drafts_first(router(name))] == ["random"]


@dataclass(frozen=True)
class Learned(ThresholdRouter):
    """Learns on one half which length of a question is hard; its threshold is of the other."""

    needs: ClassVar = ("questions",)
    slope: float = 0.0

    def fit(self, evidence: Evidence, outcomes: Outcomes, budget: float) -> Self:
        first, second = range(0, len(evidence), 2), range(1, len(evidence), 2)
        wrong = 1 - outcomes.take(first).local_right
        slope = float(np.polyfit(self._lengths(evidence.take(first)), wrong, 1)[0])
        learnt = replace(self, slope=slope)
        fitted = super(Learned, learnt).fit(evidence.take(second), outcomes.take(second), budget)
        return cast(Self, fitted)

    def scores(self, evidence: Evidence) -> Any:
        return self.slope * self._lengths(evidence)

    def _lengths(self, evidence: Evidence) -> Any:
        return np.array([float(len(question.prompt)) for question in evidence.questions])


def test_a_router_may_learn_from_who_was_right() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 400)
    given = replace(
        evidence(np.zeros(400)), questions=tuple(Question.of("x" * length) for length in lengths)
    )
    right = outcomes(lengths < 40)  # long questions are hard
    router = Learned(Learned.Settings(kind="learned")).fit(given, right, 0.3)
    assert router.slope > 0
    asked = router.decisions(given)
    assert lengths[asked].min() >= 40
    assert 0.15 < asked.mean() <= 0.32
    assert not drafts_first(router)


def test_recipes_are_compared_at_one_threshold_whatever_the_cloud_says() -> None:
    given = evidence(np.random.default_rng(0).normal(size=300))
    local = np.arange(300) % 2.0
    by_failures = router("calibrated").fit(given, outcomes(local), 0.3).threshold
    assert by_failures < 1e4
    for cloud in (np.ones(300), np.zeros(300)):
        assert compared_threshold(given, Outcomes(local, cloud), 0.3) == by_failures
