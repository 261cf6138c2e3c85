"""A fitted router with its scores on the questions that it was fitted on: how much it asks can be
turned without fitting it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from understudy.errors import ConfigError
from understudy.routing.router import FARTHEST, RequestRouter, Router, build_router, chosen_router
from understudy.routing.thresholds import threshold_above


@dataclass(frozen=True, slots=True)
class Calibration:
    router: Router  # fitted to its budget
    scores: tuple[float, ...]  # on validation questions

    def turned(self, dial: float | None) -> Router:
        """The router that would ask such a share of those questions; None: as it was fitted.

        0 never asks, 1 always. A router without a threshold of its own, which sends a share at
        random, sends that share.
        """
        if dial is None:
            return self.router
        return replace(_turnable(self.router), budget=dial, threshold=self.threshold(dial))

    def threshold(self, dial: float) -> float:
        if dial <= 0:
            return FARTHEST
        if dial >= 1 or not self.scores:
            return -FARTHEST
        found = threshold_above(self.scores, share_of(dial, len(self.scores)))
        return min(max(found, -FARTHEST), FARTHEST)

    def to_json(self) -> dict[str, Any]:
        """For a router of which its settings and its threshold are all."""
        router = _turnable(self.router)
        return {
            "router": router.settings.model_dump(mode="json"),
            "budget": router.budget,
            "threshold": router.threshold,
            "scores": [round(score, 4) for score in sorted(self.scores, reverse=True)],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Calibration:
        router = _turnable(build_router(chosen_router(record["router"])))
        fitted = replace(router, budget=record["budget"], threshold=record["threshold"])
        return cls(fitted, tuple(record["scores"]))


def share_of(dial: float, count: int) -> int:
    """So many of `count` questions; 0.29 * 100 is 28.999..."""
    return int(dial * count + 1e-9)


def at_threshold(router: Router, threshold: float, scores: Sequence[float] = ()) -> Calibration:
    """A router whose threshold is given rather than fitted."""
    return Calibration(replace(_turnable(router), threshold=threshold), tuple(scores))


def _turnable(router: Router) -> RequestRouter:
    if not isinstance(router, RequestRouter):
        raise ConfigError(
            f"router {type(router).__name__}: has no threshold that can be set; make it a "
            "subclass of ThresholdRouter"
        )
    return router
