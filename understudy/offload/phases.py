"""The phases of a run: their names, lengths and budgets, from its settings."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.offload.config import Config
from understudy.tasks import FAMILIES
from understudy.tasks.stream import Phase, load_stream


def phases_of(config: Config) -> list[Phase]:
    """Each with its steps; families are the generated ones and the settings' data sets."""
    phases = load_stream(config.stream, [*FAMILIES, *config.data])
    if config.steps is not None:
        phases = [phase.model_copy(update={"steps": config.steps}) for phase in phases]
    return phases


def task_key(phase: Phase) -> str:
    """What makes two phases one task: everything but their length."""
    return phase.model_dump_json(exclude={"steps"})


def budget_of(phase: Phase, config: Config) -> float:
    return config.budget if phase.budget is None else phase.budget


def total_steps(config: Config) -> int:
    return ends(phases_of(config))[-1]


def ends(stream: list[Phase]) -> list[int]:
    """The step counts at which phases end."""
    totals, total = [], 0
    for phase in stream:
        total += phase.steps
        totals.append(total)
    return totals


def remaining(stream: list[Phase], step: int) -> Iterator[tuple[int, Phase]]:
    """(phase number from 1, phase) of every step still to come."""
    for number, (phase, end) in enumerate(zip(stream, ends(stream), strict=True), start=1):
        for _ in range(max(step, end - phase.steps), end):
            yield number, phase
