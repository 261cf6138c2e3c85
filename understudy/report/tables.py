"""Runs as tables: one run phase by phase, several runs side by side."""

from __future__ import annotations

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


def run_table(summary: dict[str, Any]) -> Table:
    """A row per phase: accuracies and asking, in training and as served."""
    table = Table(title="phase by phase, examined at the end of each")
    for name in ("phase", "task", "budget", "asked in training", "asked as served"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for name in ("local", "system", "cloud alone"):
        table.add_column(name, justify="right")
    for phase in summary["phases"]:
        served = phase["evaluation"]
        figures = [phase["budget"], phase["training"]["settled_mean"], served["ask_rate"]]
        figures += [served["local"], served["system"], served["cloud"]]
        shown = [f"{figure:.3f}" for figure in figures]
        table.add_row(str(phase["phase"]), phase["task"], *shown)
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
        record["asked in training"] = sum(rates) / len(rates)
        record["dollars"] = summary["spend"]["dollars"]
        records.append(record)
    return records


def comparison_table(records: list[dict[str, Any]]) -> Table:
    table = Table(title="runs compared")
    for name in records[0]:
        table.add_column(name, justify="left" if name in ("run", "recipe") else "right")
    for record in records:
        table.add_row(*(_shown(value) for value in record.values()))
    return table


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
