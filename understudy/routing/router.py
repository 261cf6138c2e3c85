"""The seam: evidence in, decisions out; and what most routers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self, get_args

from pydantic import Field

from understudy.errors import ConfigError, DivergedError
from understudy.routing import ROUTERS
from understudy.routing.evidence import FREE, Evidence, Generate, Need, Outcomes
from understudy.routing.thresholds import (
    LEAST_TESTED,
    most_above,
    number_that_gains,
    threshold_above,
    whole_ties,
)
from understudy.settings import Kinds, KindSection, Section, check_settings

if TYPE_CHECKING:
    from understudy.routing.evidence import Decisions, FloatArray

FARTHEST = 1e4  # beyond every score: never asks, or always; JSON has no infinity


class Router(Protocol):
    """Decides which questions leave for the cloud. It is built from its settings and never changes.

    The order of events: `gather` on validation questions, then `fit`, which returns the router to
    use; then, for a batch of questions or a single one, `gather` and `decisions`.
    """

    @property
    def needs(self) -> Sequence[Need]:
        """The evidence that it reads. What it takes to have it is charged to the router."""

    @property
    def gathers(self) -> Sequence[str]:
        """The signals that `gather` adds, by name; an examination keeps them in its rows."""

    @property
    def threshold(self) -> float:
        """Questions with a score above it are asked."""

    @property
    def calls(self) -> int:
        """How many validation questions the cloud may be asked for the fit; 0: none.

        They are the highest scores of a router that is fitted without the cloud (`to_test`). Then
        it is fitted again.
        """

    def gather(self, evidence: Evidence, generate: Generate) -> Evidence:
        """The evidence with the signals of `gathers`, and what they cost, added."""

    def fit(self, evidence: Evidence, outcomes: Outcomes, budget: float) -> Self:
        """The router that keeps to a budget, learnt from validation questions."""

    def scores(self, evidence: Evidence) -> FloatArray:
        """The higher, the sooner a question is asked."""

    def decisions(self, evidence: Evidence) -> Decisions:
        """Which of these questions leave, or each with what chance."""

    def why(self, evidence: Evidence) -> str:
        """The reason for the decision on the first question, in words."""


@dataclass(frozen=True)
class RequestRouter:
    """Goes by the model's own request: asks where its lead is above a threshold.

    What most routers share is here. `settings` is an instance of the class's own `Settings`.
    """

    class Settings(KindSection):
        """There is nothing to set."""

    settings: KindSection
    budget: float = 0.0
    threshold: float = FARTHEST

    needs: ClassVar[Sequence[Need]] = ("margin",)
    gathers: ClassVar[Sequence[str]] = ()
    # Whether the score is the margin itself. It only rises while an answer is written, so an
    # answer need not be finished to know that its question is asked.
    by_margin: ClassVar[bool] = False
    score_name: ClassVar[str] = "the local model's request for help"

    @property
    def calls(self) -> int:
        return 0

    def gather(self, evidence: Evidence, generate: Generate) -> Evidence:
        return evidence

    def fit(self, evidence: Evidence, outcomes: Outcomes, budget: float) -> Self:
        """The threshold is the one in force in training; without a budget nobody asks."""
        own = min(max(evidence.own_threshold, -FARTHEST), FARTHEST) + 0.0  # no -0.0
        return replace(self, budget=budget, threshold=own if budget > 0 else FARTHEST)

    def scores(self, evidence: Evidence) -> FloatArray:
        return evidence.margin

    def decisions(self, evidence: Evidence) -> Decisions:
        return checked_scores(self, evidence) > self.threshold

    def why(self, evidence: Evidence) -> str:
        score = float(checked_scores(self, evidence)[0])
        side = "above" if score > self.threshold else "not above"
        return f"{self.score_name}, {score:.2f}, is {side} the threshold, {self.threshold:.2f}"


@dataclass(frozen=True)
class ThresholdRouter(RequestRouter):
    """Asks above a threshold on its scores, fitted to the budget on validation questions.

    A router of your own is a subclass with `needs`, `scores` and perhaps `gather`.
    """

    class Settings(RequestRouter.Settings):
        spare: bool = Field(True, description="ask less than the budget where asking stops paying")
        calls: int = Field(
            256,
            ge=0,
            description="validation questions per task that the cloud is asked, to see whether "
            "asking gains; too few for a test, as 0: what fails locally is taken for a gain",
        )
        confidence: float = Field(
            0.9, gt=0, lt=1, description="of the budget on unseen questions, and of the gain"
        )

    settings: ThresholdRouter.Settings

    score_name: ClassVar[str] = "the router's score"

    def __post_init__(self) -> None:
        if not isinstance(self.settings, ThresholdRouter.Settings):
            raise ConfigError(
                f"router {type(self).__name__}: its Settings must be a subclass of "
                "ThresholdRouter.Settings, which has what the threshold is fitted with"
            )

    @property
    def calls(self) -> int:
        return self.settings.calls if self.settings.spare else 0

    def fit(self, evidence: Evidence, outcomes: Outcomes, budget: float) -> Self:
        """The share of unseen questions above the threshold exceeds the budget with probability
        1 - confidence at most. With `spare` no larger share is asked than fails locally, and of
        that, where the cloud's answers to the highest scores are known, only what gains; each to
        the end of a tie.
        """
        import numpy as np

        scores, confidence = checked_scores(self, evidence), self.settings.confidence
        most = limit = most_above(len(scores), budget, confidence)
        if self.settings.spare and most >= 0:
            failures = round(float((1.0 - outcomes.local_right).sum()))
            most = whole_ties(scores, min(most, failures), limit) if failures else -1
        if self.settings.spare and most >= 0:
            tested = np.argsort(-scores, kind="stable")[: max(most, LEAST_TESTED)]
            gain = (outcomes.cloud_right - outcomes.local_right)[tested]
            gaining = number_that_gains(gain, confidence)
            if gaining is not None:
                loses = float(np.nansum(gain[:most])) < 0  # of those that would leave themselves
                found = -1 if loses or not gaining else min(most, gaining)
                most = whole_ties(scores, found, limit)
        threshold = float(np.clip(threshold_above(scores, most), -FARTHEST, FARTHEST))
        return replace(self, budget=budget, threshold=threshold)


def checked_scores(router: Router, evidence: Evidence) -> FloatArray:
    """The router's scores; what is no number for each question is refused."""
    import numpy as np

    if broken := int(np.isnan(evidence.margin).sum()):
        raise DivergedError(
            f"the model gives NaN on {broken} of {len(evidence)} questions: its weights broke; "
            "load others, or start a new run with a lower learning_rate"
        )
    scores = np.asarray(router.scores(evidence), dtype=np.float64)
    name = type(router).__name__
    if scores.shape != (len(evidence),):
        raise ConfigError(
            f"router {name}: scores has the shape {scores.shape} for {len(evidence)} questions; "
            "give one number for each"
        )
    if unknown := int(np.isnan(scores).sum()):
        raise ConfigError(
            f"router {name}: {unknown} of {len(evidence)} scores are NaN; give a number for each "
            "question"
        )
    return scores


def to_test(router: Router, evidence: Evidence) -> list[int]:
    """The validation questions that the cloud is asked, to see whether asking it gains.

    They are those that a fitted router sends, then the next highest scores, 48 at least; up to
    `router.calls` of these, evenly over the scores. None where the router never asks.
    """
    import numpy as np

    if router.threshold >= FARTHEST:
        return []
    stays = router.decisions(evidence) == 0
    falling = np.lexsort((-checked_scores(router, evidence), stays))
    falling = falling[: max(len(evidence) - int(stays.sum()), LEAST_TESTED)]
    if len(falling) > router.calls:
        falling = falling[np.arange(router.calls) * len(falling) // router.calls]
    return [int(place) for place in np.sort(falling)]


def never_asks(router: Router, evidence: Evidence, outcomes: Outcomes) -> str | None:
    """Why a fitted threshold lets none of the validation questions through, though there is a
    budget and some fail locally; and what to do. None: that is not so."""
    import numpy as np

    if not isinstance(router, ThresholdRouter) or router.budget <= 0:
        return None
    failed = int((outcomes.local_right == 0).sum())
    if not failed or router.decisions(evidence).any():
        return None
    limit = most_above(len(evidence), router.budget, router.settings.confidence)
    if limit <= 0:
        return (
            f"{len(evidence)} validation questions are too few to hold a budget of "
            f"{router.budget:g}; raise calibration_queries or the budget"
        )
    if router.threshold < FARTHEST:
        scores = checked_scores(router, evidence)
        return (
            f"the {int((scores == scores.max()).sum())} highest scores are equal, and the budget "
            f"of {router.budget:g} lets {limit} of {len(evidence)} questions through; use a router "
            "whose scores differ, or raise the budget"
        )
    gain = outcomes.cloud_right - outcomes.local_right
    asked, gained, lost = (int(each.sum()) for each in (~np.isnan(gain), gain > 0, gain < 0))
    return (
        f"the local model fails on {failed} of {len(evidence)} validation questions, but of the "
        f"{asked} that the cloud was asked too, it gained {gained} and lost {lost}: too little to "
        "ask it; use a better cloud, raise calibration_queries, or ask untested with router.calls=0"
    )


def with_signals(router: Router, evidence: Evidence, generate: Generate) -> Evidence:
    """The evidence with what the router gathers; what was kept is not gathered again."""
    if evidence.signals.keys() >= set(router.gathers):
        return evidence
    return router.gather(evidence, generate)


def drafts_first(router: Router) -> bool:
    """Whether the local model must answer before the router can decide."""
    return not FREE.issuperset(router.needs)


def tokens_spent(router: Router, evidence: Evidence) -> int:
    """Tokens that the local model computed before the router could decide."""
    spent = evidence.gathered.prompt_tokens + evidence.gathered.completion_tokens
    if drafts_first(router):
        spent += int(evidence.prompt_tokens.sum() + evidence.completion_tokens.sum())
    return spent


class RouterChoice(Section):
    """A router that stands in for a run's own."""

    router: Annotated[KindSection, Kinds(ROUTERS, "own")]


def chosen_router(given: str | Mapping[str, Any]) -> KindSection:
    """The settings of a router that is given by its name or with settings; refused by name."""
    return check_settings(RouterChoice, {"router": given}).router


def build_router(section: KindSection) -> Router:
    """The router that its settings describe."""
    router: Router = ROUTERS.make(section.kind, section)
    if not hasattr(router, "needs"):
        raise ConfigError(f"router={section.kind}: has no needs; write one as docs/extend.md says")
    if unknown := set(router.needs) - set(get_args(Need)):
        raise ConfigError(
            f"router={section.kind}: needs {min(unknown)!r}, which is no evidence; "
            f"use {', '.join(get_args(Need))}"
        )
    return router
