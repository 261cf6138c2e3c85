"""A fitted router with its scores on the questions that it was fitted on: how much it asks can be
turned without fitting it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError
from understudy.routing.router import FARTHEST, RequestRouter, Router, build_router, chosen_router
from understudy.routing.thresholds import threshold_above

CALIBRATION = "calibration.json"  # beside a model's files: the router of each of its tasks


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


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The routers of a model's tasks. usual: the task of a question that names none."""

    tasks: Mapping[str, Calibration]
    usual: str

    def of(self, task: str) -> Calibration:
        return self.tasks.get(task) or self.tasks[self.usual]


def read_calibrations(folder: Path) -> Calibrations | None:
    """What lies beside a model's files; None: nothing does."""
    path = folder / CALIBRATION
    try:
        record = json.loads(path.read_text())
        tasks = {name: Calibration.from_json(each) for name, each in record["tasks"].items()}
        found = Calibrations(tasks, str(record["usual"]))
        found.of(found.usual)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__}: {error})") from None
    return found
