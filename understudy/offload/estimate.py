"""What a run asks of its cloud at most, before it is started."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.clouds.building import build_cloud
from understudy.clouds.estimates import estimated_cost
from understudy.offload.config import Config
from understudy.offload.phases import phases_of, task_key, total_steps
from understudy.tasks import open_tasks
from understudy.tasks.stream import Phase

_LOOKED_AT = 64  # questions of each task, whose length says what a call costs


@dataclass(frozen=True, slots=True)
class CloudEstimate:
    """Calls at most: a question crosses once a step, and once for all examinations."""

    training: int
    examinations: int
    dollars_a_call: float | None  # of the dearest question looked at; None: no price is known

    def text(self) -> str:
        calls = f"{self.training:,} in training, {self.examinations:,} in examinations"
        if self.dollars_a_call is None:
            return f"calls of the cloud at most: {calls}; what they cost is not known"
        dollars = (self.training + self.examinations) * self.dollars_a_call
        return f"calls of the cloud at most: {calls}; ${dollars:,.2f} if every answer is longest"


def cloud_estimate(config: Config) -> CloudEstimate:
    """config: complete. Data sets are read; nothing is asked."""
    phases = phases_of(config)
    once: list[Phase] = list({task_key(phase): phase for phase in phases}.values())
    with open_tasks(config.data) as tasks:
        examinations = sum(
            tasks.exam_size(phase, config.eval_queries, "test")
            + tasks.exam_size(phase, config.calibration_queries, "validation")
            for phase in once
        )
        problems = [
            problem
            for phase in once
            for problem in tasks.exam(phase, _LOOKED_AT, "test", str(config.seed))
        ]
        cloud = build_cloud(config.cloud, tasks.key)
    shown = len(phases) * config.warm_start.examples if config.warm_start.steps else 0
    known = hasattr(cloud, "estimate")
    dearest = max(estimated_cost(cloud, problem.question).dollars for problem in problems)
    return CloudEstimate(
        total_steps(config) * config.batch_size + shown,
        examinations,
        dearest if known else None,
    )
