"""A finished run as one HTML page that needs nothing but itself."""

from __future__ import annotations

import math
import shlex
from html import escape
from typing import Any

from understudy.metrics import wilson_interval
from understudy.offload.alarms import Alarms
from understudy.report.offload import plots
from understudy.report.parts.html import facts, table, tiles, write_page
from understudy.report.parts.numbers import mean, number, span
from understudy.run import RunDirectory

Record = dict[str, Any]

_WHICH = ("local", "system", "calibrated_system")
_METRICS = (
    ("average_accuracy", "ACC", "accuracy at the end of the stream, mean over the tasks"),
    ("learning_accuracy", "learning accuracy", "each task just after its phase, mean of R[j, j]"),
    ("during_task", "during the task", "the current task at its end: the same mean of R[j, j]"),
    ("post_switch", "after the switch", "tasks met earlier, after every later phase"),
    (
        "backward_transfer",
        "BWT",
        "end minus just after learning; negative where something was lost",
    ),
    ("forgetting", "forgetting", "best earlier accuracy minus the one at the end, all but task T"),
    ("forward_transfer", "FWT", "just before a task's phase, minus before any training"),
)
_BILL = (
    ("calls", "calls"),
    ("failed_calls", "failed"),
    ("cache_hits", "cache hits"),
    ("tokens", "tokens"),
    ("dollars", "dollars"),
)


def write_report(run: RunDirectory) -> None:
    """Write report.html; the same run directory gives the same bytes."""
    settings, summary, matrix = run.settings(), run.read(run.summary), run.read(run.matrix)
    lines = run.metric_lines()
    parts = _header(settings, summary, matrix, lines) | _plots(summary, matrix, lines)
    parts |= {
        "phase_table": _phase_table(summary["phases"]),
        "metric_table": _metric_table(summary),
        "spend_table": _spend_table(summary),
        "command": escape(
            f"understudy train {shlex.quote(str(settings['recipe']))} --config config.yaml "
            "--out runs/again"
        ),
    }
    write_page(run, "offload/page.html", parts)


def _header(
    settings: Record, summary: Record, matrix: list[Record], lines: list[Record]
) -> dict[str, str]:
    phases = summary["phases"]
    stream = _stream_in_words(phases, lines)
    budget = span([phase["budget"] for phase in phases])
    known = [("model", settings["model"]), ("seed", settings["seed"])]
    known += [("budget", budget), ("steps", summary["steps"])]
    return {
        "title": escape(f"{settings['recipe']}: {stream}"),
        "recipe": escape(str(settings["recipe"])),
        "stream": escape(stream),
        "facts": facts(known),
        "tiles": _tiles(summary, matrix, budget),
        "warnings": _warnings(lines),
        "budget_words": _budget_words(lines, phases),
        "matrix_words": _matrix_words(settings, phases),
    }


def _stream_in_words(phases: list[Record], lines: list[Record]) -> str:
    steps = [sum(line["phase"] == phase["phase"] for line in lines) for phase in phases]
    if len(set(steps)) == 1:
        each = " each" if len(phases) > 1 else ""
        tasks = " → ".join(phase["task"] for phase in phases)
        return f"{tasks}, {steps[0]} steps{each}"
    pairs = zip(phases, steps, strict=True)
    return " → ".join(f"{phase['task']} ({count} steps)" for phase, count in pairs)


def _tiles(summary: Record, matrix: list[Record], budget: str) -> str:
    """What to know first. Every mean is over the tasks of the stream, at its end."""
    local, system = summary["local"], summary["system"]
    cloud, asked = (mean(plots.accuracies(matrix, key)[-1]) for key in ("cloud", "ask_rate"))
    calls, dollars = summary["spend"]["calls"], _dollars(summary["spend"]["dollars"])
    examined = _dollars(summary["evaluation_spend"]["dollars"])
    lost = number(system["forgetting"])
    return tiles(
        (
            (
                "system accuracy",
                number(system["average_accuracy"]),
                f"the cloud alone: {number(cloud)}",
            ),
            ("local accuracy", number(local["average_accuracy"]), "without any help"),
            ("asked, as served", number(asked), f"of the questions; budget: {budget}"),
            ("forgetting", number(local["forgetting"]), f"local; of the system: {lost}"),
            ("spent in training", dollars, f"on {calls:,} calls; examinations: {examined}"),
        )
    )


def _warnings(lines: list[Record]) -> str:
    """What was said aloud in training, said again: the alarms depend on the lines alone."""
    asking_is_possible = any(line["cloud/shift"] is not None for line in lines)
    alarms = Alarms(asks=asking_is_possible)
    texts = [text for line in lines for text in alarms.hear(line)]
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<div class="warnings"><strong>Warnings in training</strong><ul>{items}</ul></div>'


def _budget_words(lines: list[Record], phases: list[Record]) -> str:
    over = [line["cloud/ask_rate"] > line["cloud/budget"] + 1e-6 for line in lines]
    words = f"Of the single training steps {mean(over):.0%} ask above the budget."
    served = plots.column([phase["evaluation"] for phase in phases], "ask_rate")
    excess = [e for e in served - plots.column(phases, "budget") if math.isfinite(e)]
    if not excess:
        return words
    worst = max(excess)
    most = f"a task asks up to {worst:.3f} above" if worst > 1e-6 else "no task asks above"
    return f"As served at the end of its phase, {most} its budget. {words}"


def _matrix_words(settings: Record, phases: list[Record]) -> str:
    words = "The outlined cell is the task that was just trained. "
    questions = settings.get("eval_queries")
    if isinstance(questions, int) and questions > 0:
        low, high = wilson_interval(questions // 2, questions)
        words += f"Each figure is over {questions} test questions: ±{(high - low) / 2:.2f} at most."
    return words


def _plots(summary: Record, matrix: list[Record], lines: list[Record]) -> dict[str, str]:
    phases = summary["phases"]
    names = [str(phase["task"]) for phase in phases]
    return {
        "budget_plot": plots.budget_plot(lines, phases),
        "matrix_plot": plots.matrix_plot(matrix, names),
        "kept_plot": plots.kept_plot(matrix, names),
        "training_plot": plots.training_plot(lines),
        "cost_plot": plots.cost_plot(matrix, names),
        "task_cost_plot": plots.task_cost_plot(matrix, names),
    }


def _phase_table(phases: list[Record]) -> str:
    heads = ("phase", "budget", "asked in training", "asked as served", "local", "system", "cloud")
    rows = []
    for phase in phases:
        served = phase["evaluation"]
        figures = [phase["budget"], phase["training"]["settled_mean"], served["ask_rate"]]
        figures += [served["local"], served["system"], served["cloud"]]
        name = escape(f"{phase['phase']} {phase['task']}")
        rows.append([name, *(number(figure, 3) for figure in figures)])
    return table(heads, rows)


def _metric_table(summary: Record) -> str:
    heads = ("metric", "local", "system as served", "system at the budget")
    rows = [
        [f"{name}<small>{meaning}</small>", *(number(summary[w].get(key), 3) for w in _WHICH)]
        for key, name, meaning in _METRICS
    ]
    return table(heads, rows)


def _spend_table(summary: Record) -> str:
    bills = (("training", summary["spend"]), ("examinations", summary["evaluation_spend"]))
    rows = [
        [name, *(_dollars(bill[k]) if k == "dollars" else f"{bill[k]:,}" for k, _ in _BILL)]
        for name, bill in bills
    ]
    return table(("", *(head for _, head in _BILL)), rows)


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"
