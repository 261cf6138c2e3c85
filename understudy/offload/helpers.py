"""Who works on a run beside the model that learns."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.clouds import MeteredCloud
from understudy.offload.config import Config
from understudy.offload.examination import Examiner
from understudy.offload.scores import Valuation
from understudy.offload.team import ALONE, Team
from understudy.routing.router import Router
from understudy.tasks import Tasks
from understudy.tasks.stream import Phase
from understudy.types import Problem


@dataclass(frozen=True, slots=True)
class Helpers:
    """What a checkpoint does not hold: it is built again when a run goes on.

    Both clouds' bills are saved, as the place that they have come to.
    """

    cloud: MeteredCloud
    examiner: MeteredCloud  # the same cloud, on the examinations' own bill
    tasks: Tasks
    valuation: Valuation
    router: Router  # not yet fitted
    team: Team = ALONE

    def examination(self, config: Config) -> Examiner:
        """No more answers at once than a step of training draws: what fits there fits here."""
        rows = config.batch_size * config.num_generations
        return Examiner(self.tasks, self.examiner, self.team, rows)

    def batch(self, phase: Phase, step: int, config: Config) -> list[Problem]:
        """The whole team's problems of a step, `step` steps being done before it."""
        size = config.batch_size * self.team.size
        return self.tasks.batch(phase, size, "train", f"{config.seed} {step}")

    def close(self) -> None:
        """Let connections and checking processes go."""
        self.cloud.close()
        self.examiner.close()
        self.tasks.close()
