"""Runs as tables: one run phase by phase, several runs side by side."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from rich.table import Table

from understudy.run import RunDirectory

COMPARED = (
    ("local", "average_accuracy", "local ACC"),
    ("system", "average_accuracy", "system ACC"),
    ("calibrated_system", "average_accuracy", "system ACC at budget"),
    ("system", "during_task", "system, during task"),
    ("system", "post_switch", "system, after switch"),
    ("local", "backward_transfer", "local BWT"),
    ("local", "forgetting", "local forgetting"),
)


def run_table(summary: dict[str, Any], matrix: list[dict[str, Any]]) -> Table:
    """A row per phase, examined at its end; last the mean over tasks when all are through."""
    table = Table(title="phase by phase")
    for name in ("task", "budget", "asked in training", "asked as served"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for name in ("local before", "local", "system", "cloud alone"):
        table.add_column(name, justify="right")
    before, last = matrix[0]["tasks"], matrix[-1]["tasks"]
    for phase, cell in zip(summary["phases"], before, strict=True):
        served = phase["evaluation"]
        figures = [phase["budget"], phase["training"]["settled_mean"], served["ask_rate"]]
        figures += [cell["local"], served["local"], served["system"], served["cloud"]]
        table.add_row(f"{phase['phase']} {phase['task']}", *(f"{f:.3f}" for f in figures))
    table.add_section()
    rates = [phase["training"]["settled_mean"] for phase in summary["phases"]]
    budgets = [phase["budget"] for phase in summary["phases"]]
    means = [fmean(budgets), fmean(rates), fmean(cell["ask_rate"] for cell in last)]
    means += [fmean(cell["local"] for cell in before)]
    means += [fmean(cell[key] for cell in last) for key in ("local", "system", "cloud")]
    table.add_row("all tasks, at the end", *(f"{figure:.3f}" for figure in means))
    return table


def exam_table(cells: list[dict[str, Any]]) -> Table:
    """A row per task: greedy accuracies and asking, as served and at the model's own decision."""
    table = Table(title=f"examined on {cells[0]['queries']} test questions per task")
    names = ("budget", "ask_rate", "local", "system", "cloud", "own_ask_rate", "own_system")
    table.add_column("task")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for cell in cells:
        table.add_row(cell["task"], *(f"{cell[name]:.3f}" for name in names))
    return table


def comparison(runs: list[RunDirectory]) -> list[dict[str, Any]]:
    """A record per run: recipe, seed, the figures compared, asking and dollars."""
    records = []
    for run in runs:
        settings, summary = run.settings(), run.read(run.summary)
        rates = [phase["training"]["settled_mean"] for phase in summary["phases"]]
        record: dict[str, Any] = {"run": str(run.path), "recipe": settings["recipe"]}
        record["seed"] = settings["seed"]
        record |= {name: summary[which][figure] for which, figure, name in COMPARED}
        served = [cell["ask_rate"] for cell in run.read(run.matrix)[-1]["tasks"]]
        record["asked as served"] = fmean(served)
        record["asked in training"] = fmean(rates)
        record["dollars"] = summary["spend"]["dollars"]
        records.append(record)
    return records


def comparison_table(records: list[dict[str, Any]]) -> Table:
    """A column per run: its names are long, the figures are many."""
    table = Table(show_header=False)
    table.add_column()
    for _ in records:
        table.add_column(justify="right", overflow="fold")
    for name in records[0]:
        table.add_row(name, *(_shown(record[name]) for record in records))
    return table


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
