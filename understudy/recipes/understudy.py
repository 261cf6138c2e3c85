"""Ours: the rate is held where it is drawn, the price only says which questions deserve a call.

    repeat
        draw G responses per prompt with the request's logit shifted by s
        A = (r - mean_group r) - lambda * (c - mean_group c)
        ascend 1/(G-1) * sum_i grad log pi_s(y_i) * A_i
        descend KL(p* || p), p* the best use of the budget     the guide: which questions to ask
        descend the cross-entropy of verified cloud answers
        lambda <- slope of reward on asking within groups      the marginal value of a call
        s      <- s + v + step towards  mean P(ask; s) = min(tau, share that asking mends)
        v      <- v + smaller step the same way         how the right shift moves while it learns

docs/understudy.md derives each line; `price.rule`, `price.shift`, `price.trend`, `price.guide`,
`price.anchor`, `price.spare` and `distill` switch each part off or to its predecessor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from understudy import objectives
from understudy.objectives.terms import AskTerm, Term
from understudy.offload.config import DISTILL, RETENTION, ROUTER, Config, WarmStart
from understudy.offload.method import Method
from understudy.retention import RETENTIONS
from understudy.routing import ROUTERS
from understudy.settings import OPEN, Chosen, Kinds, KindSection, Section

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.offload.experience import Experience
    from understudy.offload.scores import Scores

# A batch's own estimate of the right shift is noisy; half of it is taken. What that leaves behind
# while the right shift moves is made up by its trend, at the rate that neither lags nor swings:
# 2 (2 - a) - 4 sqrt(1 - a) of a filter whose first step is a.
_SHIFT_STEP = 0.5
_TREND_STEP = 2 * (2 - _SHIFT_STEP) - 4 * (1 - _SHIFT_STEP) ** 0.5
_STEEPEST = 1.0  # correction that moves the trend: a batch in which nobody can ask says 20


class MarketPrice(Section):
    """The price of asking (lambda), what holds the rate of asking to the budget, and the guide."""

    rule: Literal["clearing", "proportional-integral"] = Field(
        "clearing", description="how the price of asking is set"
    )
    initial: float = Field(
        0.5, ge=0, description="price of asking, in reward, before the first step (lambda_0)"
    )
    maximum: float = Field(1.2, gt=0, description="largest price of asking, in reward")
    smoothing: float = Field(0.9, ge=0, lt=1, description="memory of the smoothed estimates")
    rate: float = Field(0.02, ge=0, description="Ki of rule proportional-integral")
    gain: float = Field(1.0, ge=0, description="Kp of rule proportional-integral")
    shift: bool = Field(True, description="hold the rate by a shift of the request's logit")
    trend: bool = Field(
        True, description="carry on how the right shift moves from step to step while it learns"
    )
    anchor: float = Field(0.0, ge=0, description="weight of the rate anchor (kappa)")
    guide: float = Field(1.0, ge=0, description="weight of the guide, question by question")
    guide_temperature: float = Field(
        0.2, gt=0, description="softness of the guide: the gain of asking that doubles as noise"
    )
    guide_trains: Literal["request", "model"] = Field(
        "request", description="what the guide trains: the request's own row, or all that learns"
    )
    spare: bool = Field(True, description="ask less than the budget where asking stops paying")

    @model_validator(mode="after")
    def _has_effect(self) -> MarketPrice:
        """Refuse what is set and is not read."""
        general = type(self).model_fields
        for name, read, where in (
            ("trend", self.shift, "shift=true"),
            ("rate", self.rule != "clearing", "rule=proportional-integral"),
            ("gain", self.rule != "clearing", "rule=proportional-integral"),
            ("guide_temperature", self.guide > 0, "guide above 0"),
            ("guide_trains", self.guide > 0, "guide above 0"),
        ):
            value = getattr(self, name)
            if not read and value != general[name].default:
                raise ValueError(f"{name}={value} has an effect with {where} only; leave it out")
        return self


@dataclass(frozen=True, slots=True)
class Market:
    """The dual variables and the smoothed quantities that they follow."""

    price: float
    shift: float = 0.0
    trend: float = 0.0  # of the shift, for each step
    integral: float = 0.0
    usage: float | None = None
    covariance: float = 0.0
    variance: float = 0.0
    failures: float = 1.0
    recent_failures: float = 1.0
    mended: float = 0.0
    missed: float = 0.0


class ShownForm(WarmStart):
    """As `WarmStart`, on by itself where it helps."""

    steps: Chosen[int] = Field(
        OPEN, ge=0, description="most steps of it; null: 24 for a chat model, else 0 (off)"
    )


class Understudy(Method):
    class Settings(Config):
        router: Annotated[KindSection, Kinds(ROUTERS, "calibrated")] = Field(
            "calibrated", validate_default=True, description=ROUTER
        )
        retention: Annotated[KindSection, Kinds(RETENTIONS, "rehearsal")] = Field(
            "rehearsal", validate_default=True, description=RETENTION
        )
        price: MarketPrice = Field(MarketPrice(), description="the price of asking, in reward")
        distill: float = Field(0.5, ge=0, description=DISTILL)
        warm_start: ShownForm = Field(ShownForm(), description="the form of an answer, shown first")

        @model_validator(mode="before")
        @classmethod
        def _spared_alike(cls, given: Any) -> Any:
            """The router spares as training does, unless its own setting says otherwise."""
            price, router = given.get("price"), given.get("router", "calibrated")
            spare = price.get("spare") if isinstance(price, Mapping) else None
            if isinstance(spare, bool) and router in ("calibrated", {"kind": "calibrated"}):
                return {**given, "router": {"kind": "calibrated", "spare": spare}}
            return given

    config: Settings

    def start(self) -> Market:
        initial = self.config.price.initial
        return Market(price=initial, integral=initial)

    def advantage(self, scores: Scores, dual: Market) -> Tensor:
        return objectives.dual_advantage(scores.reward, scores.asked, dual.price, scores.valid)

    def terms(self, experience: Experience, dual: Market) -> list[Term]:
        found, setting = super().terms(experience, dual), self.config.price
        if setting.anchor > 0 or setting.guide > 0:
            target = self._target(dual, experience.budget)
            loss = partial(self.asking_loss, experience.scores, target)
            found.append(AskTerm(loss, whole_model=setting.guide_trains == "model"))
        return found

    def asking_loss(self, scores: Scores, target: float, ask_probability: Tensor) -> Tensor:
        """The rate anchor and the guide, of every response's probability to ask."""
        import torch

        setting, parts = self.config.price, []
        if setting.anchor > 0:
            anchor = objectives.rate_anchor(ask_probability.mean(), target)
            parts.append(setting.anchor * anchor)
        if setting.guide > 0:
            gain, known = gain_of_asking(scores)
            wanted = objectives.ask_targets(gain[known], target, setting.guide_temperature)
            guide = objectives.ask_guide(ask_probability[known], wanted)
            parts.append(setting.guide * guide)
        return torch.stack(parts).sum()

    def next_dual(self, dual: Market, scores: Scores, budget: float) -> Market:
        setting, keep = self.config.price, self.config.price.smoothing
        dual = self._watched(dual, scores)
        usage = scores.usage
        if dual.usage is not None:
            usage = keep * dual.usage + (1 - keep) * usage
        target = self._target(dual, budget)
        gained, spread = objectives.clearing_price(scores.reward, scores.asked, scores.valid)
        covariance = keep * dual.covariance + gained
        variance = keep * dual.variance + spread
        if setting.rule == "clearing":
            integral = dual.integral
            slope = covariance / variance if variance > 0 else dual.price
            price = min(max(slope, 0.0), setting.maximum)
        else:
            price, integral = objectives.proportional_integral_step(
                dual.integral, usage - target, setting.gain, setting.rate, setting.maximum
            )
        shift, trend = dual.shift, dual.trend
        if setting.shift and budget > 0:  # without a budget nobody asks, whatever the shift
            shift, trend = self._next_shift(dual, scores, target)
        return replace(
            dual,
            price=price,
            shift=shift,
            trend=trend,
            integral=integral,
            usage=usage,
            covariance=covariance,
            variance=variance,
        )

    def _next_shift(self, dual: Market, scores: Scores, target: float) -> tuple[float, float]:
        """The shift and its trend, after a batch of which so large a share should have asked."""
        # The mean over tokens at which every response asks `target` times.
        chances = scores.token_ask_probability
        missing = objectives.logit_shift(chances, target * scores.asked.numel() / len(chances))
        trend = 0.0
        if self.config.price.trend:
            trend = dual.trend + _TREND_STEP * min(max(missing, -_STEEPEST), _STEEPEST)
        shift = dual.shift + _SHIFT_STEP * missing + trend
        within = min(max(shift, -objectives.LARGEST_SHIFT), objectives.LARGEST_SHIFT)
        return within, trend if within == shift else 0.0

    def _watched(self, dual: Market, scores: Scores) -> Market:
        """What the local model fails at, and how much of that asking mends, after a batch."""
        keep, failures = self.config.price.smoothing, local_failures(scores)
        mended, missed = mended_by_asking(scores)
        return replace(
            dual,
            failures=keep * dual.failures + (1 - keep) * failures,
            recent_failures=(dual.recent_failures + failures) / 2,
            mended=keep * dual.mended + mended,
            missed=keep * dual.missed + missed,
        )

    def _target(self, dual: Market, budget: float) -> float:
        """The budget is a bound: no more is asked than asking mends.

        That is the share that the local model fails at (the higher of a slow and a fast mean, for
        a switch must not wait) times the share of failures that asking has mended. One question
        of no evidence counts as mended, so that asking which has stopped is tried again.
        """
        if not self.config.price.spare:
            return budget
        mends = max(dual.mended + 1.0, 0.0) / (dual.missed + 1.0)
        return min(budget, max(dual.failures, dual.recent_failures) * mends)


def local_failures(scores: Scores) -> float:
    """The share of prompts that the local model gets wrong, each by its own answers in the group.

    A group in which every response asked says nothing good about the local model: it counts as
    wrong.
    """
    answered = (~scores.asked).sum(dim=1)
    right = scores.local_right.sum(dim=1) / answered.clamp(min=1)
    return float(1.0 - right.mean())


def mended_by_asking(scores: Scores) -> tuple[float, float]:
    """(mended, missed), sums over prompts in whose group some asked and some answered.

    missed: failures of the local model where it asked. mended: those that the cloud gets right,
    less the right answers that it spoils. Each prompt counts by the share of its group that asked.
    """
    helped, answered = scores.valid & scores.asked, scores.valid & ~scores.asked
    right = (scores.local_right & answered).sum(dim=1) / answered.sum(dim=1).clamp(min=1)
    known = answered.any(dim=1) & helped.any(dim=1)
    share = helped.float().mean(dim=1) * known
    mended = share * (scores.cloud_right.float() - right)
    return float(mended.sum()), float((share * (1.0 - right)).sum())


def gain_of_asking(scores: Scores) -> tuple[Tensor, Tensor]:
    """(gain, known), each (prompts,): the cloud's reward less the local model's mean reward.

    Unknown where no response of the group answered by itself, or none got a reply.
    """
    answered, helped = scores.valid & ~scores.asked, scores.valid & scores.asked
    local = (scores.reward * answered).sum(dim=1) / answered.sum(dim=1).clamp(min=1)
    cloud = (scores.reward * helped).sum(dim=1) / helped.sum(dim=1).clamp(min=1)
    return cloud - local, answered.any(dim=1) & helped.any(dim=1)
