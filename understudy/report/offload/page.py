"""The page of a finished run on a stream."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from understudy.offload.alarms import Alarms, examination_alarms, over_budget
from understudy.offload.records import MatrixRow, PhaseSummary, RunSummary
from understudy.offload.steps import StepMetrics
from understudy.report.offload import plots, tables
from understudy.report.offload.records import FinishedRun, errors_of, read_run
from understudy.report.offload.tables import precision_words
from understudy.report.parts.layout import for_both
from understudy.report.parts.numbers import dollars, mean, measured, number, span
from understudy.report.parts.page import Tile, render
from understudy.run import RunDirectory

_MANY_FAILED = 0.05  # share of the calls above which the page warns
_REASONS = 3  # of failures that are named


def page(directory: RunDirectory) -> str:
    run = read_run(directory)
    settings, summary, matrix, steps = run.settings, run.summary, run.matrix, run.steps
    phases, names = summary.phases, run.names
    answered = plots.has_curve(matrix)
    return render(
        directory,
        Path(__file__).with_name("page.html"),
        recipe=settings["recipe"],
        stream=_stream_in_words(phases, steps),
        facts=_facts(run),
        tiles=_tiles(run),
        failures=_failures(directory, summary),
        warnings=[*_warnings(steps), *_label_warnings(run), *_over_budget(run)],
        budget_words=_budget_words(steps, phases),
        budget_plot=for_both(plots.budget_plot, steps, phases),
        precision=_precision(matrix),
        matrix_plot=for_both(plots.matrix_plot, matrix, names),
        kept_plot=for_both(plots.kept_plot, matrix, names),
        training_plot=for_both(plots.training_plot, steps),
        cost_plot=for_both(plots.cost_plot, matrix, names) if answered else None,
        task_cost_plot=for_both(plots.task_cost_plot, matrix, names) if answered else None,
        has_labels=any(phase.evaluation.constant is not None for phase in phases),
        phase_table=tables.phase_table(phases, matrix),
        metric_table=tables.metric_table(summary),
        bill_table=tables.bill_table(summary),
        command=f"understudy train {shlex.quote(str(settings['recipe']))} --config config.yaml "
        "--out runs/again",
    )


def _stream_in_words(phases: Sequence[PhaseSummary], steps: Sequence[StepMetrics]) -> str:
    lengths = [sum(step.phase == phase.phase for step in steps) for phase in phases]
    if len(set(lengths)) == 1:
        each = " each" if len(phases) > 1 else ""
        return f"{' → '.join(phase.task for phase in phases)}, {lengths[0]} steps{each}"
    pairs = zip(phases, lengths, strict=True)
    return " → ".join(f"{phase.task} ({length} steps)" for phase, length in pairs)


def _facts(run: FinishedRun) -> list[tuple[str, object]]:
    return [
        ("model", run.settings["model"]),
        ("seed", run.settings["seed"]),
        ("budget", _budget(run)),
        ("steps", run.summary.steps),
    ]


def _budget(run: FinishedRun) -> str:
    return span([phase.budget for phase in run.summary.phases])


def _tiles(run: FinishedRun) -> list[Tile]:
    """What to know first. Every mean is over the tasks of the stream, at its end."""
    summary, end = run.summary, run.matrix[-1].tasks
    local, system = summary.local, summary.system
    asked = mean([cell.ask_rate for cell in end])
    cloud = number(mean([cell.cloud for cell in end]))
    spent = f"on {summary.spend.calls:,} calls; examinations: "
    spent += dollars(summary.evaluation_spend.dollars)
    lost = number(system["forgetting"])
    return [
        Tile("system accuracy", number(system["average_accuracy"]), f"the cloud alone: {cloud}"),
        Tile("local accuracy", number(local["average_accuracy"]), "without any help"),
        Tile("asked, as served", number(asked), f"of the questions; budget: {_budget(run)}"),
        Tile("forgetting", number(local["forgetting"]), f"local; of the system: {lost}"),
        Tile("spent in training", dollars(summary.spend.dollars), spent),
    ]


def _failures(run: RunDirectory, summary: RunSummary) -> list[str]:
    """A sentence where many calls failed: how many, why, and what that means for the figures."""
    found = []
    for bill, log, where, then in (
        (summary.spend, run.replies, "training", "The responses that made them have no reward."),
        (
            summary.evaluation_spend,
            run.examination_replies,
            "the examinations",
            "The local answers stand in their place; the cloud's accuracy is over its answers.",
        ),
    ):
        if bill.failed_calls > _MANY_FAILED * bill.calls:
            counts = f"{bill.failed_calls:,} of {bill.calls:,} calls failed in {where}"
            reasons = [f"{reason} ({n:,})" for reason, n in errors_of(log).most_common(_REASONS)]
            found.append(": ".join(filter(None, (counts, ", ".join(reasons)))) + f". {then}")
    return found


def _warnings(steps: Sequence[StepMetrics]) -> list[str]:
    """The warnings given in training: they depend on the steps' metrics alone."""
    alarms = Alarms(asks=any(step.shift is not None for step in steps))
    return [text for step in steps for text in alarms.after_step(step)]


def _label_warnings(run: FinishedRun) -> list[str]:
    """The warnings given after examinations."""
    return [text for row in run.matrix for text in examination_alarms(row, run.names)]


def _over_budget(run: FinishedRun) -> list[str]:
    """A sentence for each phase whose served share is above its budget by more than chance."""
    ends = [(phase, run.matrix[phase.phase].tasks[phase.phase - 1]) for phase in run.summary.phases]
    found = (over_budget(phase.task, cell, phase.budget) for phase, cell in ends)
    return list(dict.fromkeys(text for text in found if text))


def _budget_words(steps: Sequence[StepMetrics], phases: Sequence[PhaseSummary]) -> str:
    """Served and trained apart: the budget is a bound of the one, and what the other steers to."""
    over = [step.ask_rate > step.budget + 1e-6 for step in steps]
    beyond = [phase for phase in phases if (phase.training["mean"] or 0.0) > phase.budget + 1e-6]
    which = f"{len(beyond)} of {len(phases)} phases" if beyond else "no phase"
    words = (
        f"In training, where it is steered to, {which} asked above it on the whole, and "
        f"{mean(over):.0%} of the single steps."
    )
    served = measured([phase.evaluation.ask_rate for phase in phases])
    excess = served - measured([phase.budget for phase in phases])
    known = excess[[math.isfinite(each) for each in excess]]
    if not known.size:
        return words
    worst = float(known.max())
    most = f"tasks ask up to {worst:.3f} above" if worst > 5e-4 else "no task asks above"
    return f"As served at the end of its phase, {most} the budget. {words}"


def _precision(matrix: Sequence[MatrixRow]) -> str:
    return precision_words([cell for row in matrix for cell in row.tasks])
