"""The figures of a finished run, from its steps and its matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.link import Spend
from understudy.metrics import (
    ask_rate_summary,
    continual_summary,
    quality_over_questions,
    switch_overshoot,
)
from understudy.metrics.measured import FloatArray
from understudy.offload.records import (
    Bill,
    Figures,
    MatrixRow,
    PhaseSummary,
    RunSummary,
    ServedFigures,
)
from understudy.offload.steps import StepMetrics
from understudy.types import Cost

_SWITCH_STEPS = 10


def summarise(
    steps: Sequence[StepMetrics],
    matrix: Sequence[MatrixRow],
    training: Spend,
    examinations: Spend,
) -> RunSummary:
    """Continual metrics of both accuracies, asking per phase, and the bills.

    The matrix has a row before training and one after each phase. The head's quality is the
    system's accuracy at the end, mean over tasks; a user is a task of the stream.
    """
    correlations = [step.ask_level_correlation for step in steps]
    known = [value for value in correlations if value is not None]
    phases = sorted({step.phase for step in steps})
    end = matrix[-1]
    scores = tuple(cell.system for cell in end.tasks)
    return RunSummary(
        quality=quality_over_questions(float(np.mean(scores)), end.distinct_questions),
        cost=_cost(training),
        per_user=scores,
        local=_continual(matrix, "local"),
        system=_continual(matrix, "system"),
        calibrated_system=_continual(matrix, "calibrated_system"),
        phases=tuple(_phase_summary(steps, matrix, phase) for phase in phases),
        steps=len(steps),
        ask_level_correlation=float(np.mean(known)) if known else None,
        spend=_bill(training),
        evaluation_spend=_bill(examinations),
    )


def _continual(matrix: Sequence[MatrixRow], which: str) -> Figures:
    rows = [[getattr(cell, which) for cell in row.tasks] for row in matrix]
    return continual_summary(np.array(rows[1:]), np.array(rows[0]))


def _phase_summary(
    steps: Sequence[StepMetrics], matrix: Sequence[MatrixRow], phase: int
) -> PhaseSummary:
    own = [step for step in steps if step.phase == phase]
    rates: FloatArray = np.array([step.ask_rate for step in own])
    budget, shown = own[0].budget, own[0].learnt.get("warm_start/usage", 0.0)
    cell = matrix[phase].tasks[phase - 1]
    return PhaseSummary(
        phase=phase,
        task=own[0].task,
        budget=round(budget + shown, 12),
        training=ask_rate_summary(rates, budget)
        | {"switch_overshoot": switch_overshoot(rates, budget, _SWITCH_STEPS)},
        evaluation=ServedFigures(
            local=cell.local,
            system=cell.system,
            ask_rate=cell.ask_rate,
            own_ask_rate=cell.own_ask_rate,
            calibrated_ask_rate=cell.calibrated_ask_rate,
            cloud=cell.cloud,
            macro_f1=cell.macro_f1,
            constant=cell.constant,
            answers=cell.answers,
        ),
        training_system_accuracy=float(np.mean([step.system_accuracy for step in own])),
        usage=float(np.mean(rates)) + shown,
        warm_start_usage=shown,
    )


def _cost(spend: Spend) -> Cost:
    return Cost(
        calls=spend.calls,
        prompt_tokens=spend.prompt_tokens,
        completion_tokens=spend.completion_tokens,
        dollars=spend.dollars,
        seconds=spend.seconds,
    )


def _bill(spend: Spend) -> Bill:
    return Bill(
        calls=spend.calls,
        failed_calls=spend.failed_calls,
        cache_hits=spend.cache_hits,
        tokens=spend.prompt_tokens + spend.completion_tokens,
        dollars=spend.dollars,
        seconds=spend.seconds,
        retries=spend.retries,
        unknown_calls=spend.unknown_calls,
        unknown_dollars=spend.unknown_dollars,
    )
