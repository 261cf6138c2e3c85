"""Runs as tables for a terminal: the figures are the summary's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from understudy.errors import RunError
from understudy.report.offload.tables import comparison, comparison_table, exam_table, run_table
from understudy.run import RunDirectory

MakeRun = Callable[..., RunDirectory]


def shown(table: Table) -> str:
    console = Console(file=io.StringIO(), width=240)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_has_a_row_per_phase(make_run: MakeRun) -> None:
    run = make_run()
    summary = run.read(run.summary)
    matrix = run.read(run.matrix)
    table = run_table(summary, matrix)
    assert table.row_count == 3 + 1
    ends = [cell["system"] for cell in matrix[-1]["tasks"]]
    assert f"{sum(ends) / len(ends):.3f}" in shown(table).splitlines()[-2]
    for phase in summary["phases"]:
        row = next(line for line in shown(table).splitlines() if phase["task"] in line)
        assert f"{phase['evaluation']['system']:.3f}" in row
        assert f"{phase['training']['settled_mean']:.3f}" in row


def test_an_exam_has_a_row_per_task() -> None:
    figures = ("budget", "ask_rate", "local", "system", "cloud", "own_ask_rate", "own_system")
    cell: dict[str, Any] = {name: 0.1 * n for n, name in enumerate(figures)}
    table = exam_table([cell | {"task": task, "queries": 64} for task in ("sums", "facts")])
    assert table.row_count == 2
    assert {"64", "sums", "facts", "0.600"} <= set(shown(table).split())


def test_runs_are_compared_by_their_own_figures(make_run: MakeRun) -> None:
    runs = [make_run("a"), make_run("b", asks=False, settings={"recipe": "grpo"})]
    first, second = comparison(runs)
    summary = runs[0].read(runs[0].summary)
    assert first["run"] == str(runs[0].path)
    assert (first["recipe"], second["recipe"], first["seed"]) == ("understudy", "grpo", 4)
    assert first["system ACC"] == summary["system"]["average_accuracy"]
    assert first["local forgetting"] == summary["local"]["forgetting"]
    rates = [phase["training"]["settled_mean"] for phase in summary["phases"]]
    assert first["asked in training"] == pytest.approx(sum(rates) / 3)
    assert second["asked in training"] == 0.0
    assert first["dollars"] == summary["spend"]["dollars"]


def test_what_is_not_defined_is_a_dash(make_run: MakeRun) -> None:
    records = comparison([make_run(tasks=("sums",))])
    assert records[0]["local BWT"] is None
    assert " - " in shown(comparison_table(records))


def test_an_unfinished_run_is_not_compared(make_run: MakeRun) -> None:
    run = make_run()
    run.summary.unlink()
    with pytest.raises(RunError, match="--resume"):
        comparison([run])
