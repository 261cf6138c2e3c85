"""The tables of a run on a stream, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from understudy.metrics import wilson_interval
from understudy.offload.records import Bill, MatrixRow, PhaseSummary, RunSummary, TaskResult
from understudy.offload.records import Cell as MatrixCell
from understudy.report.parts.numbers import count, dollars, mean, number
from understudy.report.parts.tables import Cell, Table

if TYPE_CHECKING:
    import rich.table

_METRICS = (
    ("average_accuracy", "ACC", "accuracy at the end of the stream, mean over the tasks"),
    (
        "learning_accuracy",
        "learning accuracy",
        "each task just after its phase, mean of R[j, j]; in the files during_task too",
    ),
    ("post_switch", "after the switch", "tasks met earlier, after every later phase"),
    (
        "backward_transfer",
        "BWT",
        "end minus just after learning; negative where something was lost",
    ),
    ("forgetting", "forgetting", "best earlier accuracy minus the one at the end, all but task T"),
    ("forward_transfer", "FWT", "just before a task's phase, minus before any training"),
)

_LABEL_HEADS = ("macro-F1", "constant")  # of tasks whose answers are labels


def phase_table(phases: Sequence[PhaseSummary], matrix: Sequence[MatrixRow]) -> Table:
    """A row per phase, examined at its end; last, of several, the mean over the tasks at the end of
    the run."""
    heads = ["phase", "budget", "asked in training", "asked as served"]
    heads += ["local before", "local", "system", "cloud alone"]
    before, end = matrix[0].tasks, matrix[-1].tasks
    labels = any(cell.constant is not None for cell in end)
    heads += _LABEL_HEADS if labels else ()
    rows = []
    for phase, cell in zip(phases, before, strict=True):
        served = phase.evaluation
        figures = [phase.budget, phase.settled_usage, served.ask_rate]
        figures += [cell.local, served.local, served.system, served.cloud]
        figures += [served.macro_f1, served.constant] if labels else []
        rows.append([f"{phase.phase} {phase.task}", *(number(figure, 3) for figure in figures)])
    columns: list[list[float | None]] = [
        [phase.budget for phase in phases],
        [phase.settled_usage for phase in phases],
        [cell.ask_rate for cell in end],
        [cell.local for cell in before],
        [cell.local for cell in end],
        [cell.system for cell in end],
        [cell.cloud for cell in end],
    ]
    if labels:
        columns += [[cell.macro_f1 for cell in end], [cell.constant for cell in end]]
    means = [number(mean(column), 3) for column in columns]
    of_all = ("all tasks, at the end", *means) if len(phases) > 1 else ()  # else the same again
    return Table(heads, rows, of_all)


def metric_table(summary: RunSummary) -> Table:
    heads = ("metric", "local", "system as served", "system at the budget")
    which = (summary.local, summary.system, summary.calibrated_system)
    rows: list[list[str | Cell]] = [
        [Cell(name, meaning), *(number(figures[key], 3) for figures in which)]
        for key, name, meaning in _METRICS
    ]
    return Table(heads, rows)


def bill_table(summary: RunSummary) -> Table:
    heads = ("", "calls", "retries", "failed", "of unknown cost", "cache hits", "tokens", "dollars")
    bills = (("training", summary.spend), ("examinations", summary.evaluation_spend))
    return Table(heads, [[name, *_bill(bill)] for name, bill in bills])


def _bill(bill: Bill) -> list[str]:
    unknown = count(bill.unknown_calls)
    if bill.unknown_calls:
        unknown += f" ({dollars(bill.unknown_dollars)} at most)"
    calls = (bill.calls, bill.retries, bill.failed_calls)
    crossed = (bill.cache_hits, bill.tokens)
    return [*map(count, calls), unknown, *map(count, crossed), dollars(bill.dollars)]


def exam_table(results: Sequence[TaskResult]) -> rich.table.Table:
    """A row per task: greedy accuracies and asking, as served and at the model's own decision."""
    names: tuple[str, ...] = ("ask_rate", "local", "system", "cloud", "own_ask_rate", "own_system")
    heads = ["task", "budget", *(name.replace("_", " ") for name in names)]
    if any(result.cell.constant is not None for result in results):
        names, heads = (*names, "macro_f1", "constant"), [*heads, *_LABEL_HEADS]
    rows = [
        [
            result.task,
            number(result.budget, 3),
            *(number(getattr(result.cell, name), 3) for name in names),
        ]
        for result in results
    ]
    words = precision_words([result.cell for result in results])
    return Table(heads, rows).for_terminal(words)


def precision_words(cells: Sequence[MatrixCell]) -> str:
    """How many different test questions figures are over, and how sure that makes them."""
    counts = [cell.sample for cell in cells]
    if not counts or not min(counts):
        return ""
    low, high = wilson_interval(min(counts) // 2, min(counts))
    more = "" if min(counts) == max(counts) else " or more"
    over = f"{min(counts)} different test questions{more} per task"
    return f"Each figure is over {over}: ±{(high - low) / 2:.2f} at most."
