"""Runs as tables for a terminal: the figures are the summary's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.report.pages import change, terminal
from understudy.errors import RunError
from understudy.offload.records import Cell, TaskResult
from understudy.report import comparison, tables
from understudy.report.offload.tables import exam_table
from understudy.report.parts.tables import side_by_side
from understudy.run import RunDirectory

MakeRun = Callable[..., RunDirectory]


def test_a_run_has_a_row_per_phase(make_run: MakeRun) -> None:
    run = make_run()
    table, bill = tables(run)
    assert "4,321" in terminal(bill)
    assert table.row_count == 3 + 1
    lines = terminal(table).splitlines()
    ends = [cell["system"] for cell in run.read(run.matrix)[-1]["tasks"]]
    assert f"{sum(ends) / len(ends):.3f}" in lines[-2]
    for phase in run.read(run.summary)["phases"]:
        row = next(line for line in lines if phase["task"] in line)
        assert f"{phase['evaluation']['system']:.3f}" in row
        assert f"{phase['training']['settled_mean']:.3f}" in row


def test_figures_in_a_terminal_have_the_interval_of_the_report(make_run: MakeRun) -> None:
    run = make_run()
    change(run, "matrix", lambda rows: rows[0]["tasks"][1].update(distinct_questions=57))
    words = "Each figure is over 57 different test questions or more per task: ±0.13 at most."
    assert words in terminal(tables(run)[0])


def test_of_one_phase_nothing_is_said_twice(make_run: MakeRun) -> None:
    assert tables(make_run(tasks=("sums",)))[0].row_count == 1


def test_an_exam_has_a_row_per_task() -> None:
    cell = Cell(0.4, 0.6, 0.3, None, 0.2, 0.5, 0.3, 0.6, 0.1, (None,) * 11, 64, 0, 0)
    few = replace(cell, questions=512, distinct_questions=57)  # a data set with no more
    table = exam_table([TaskResult("sums", 0.35, 64, cell), TaskResult("facts[b]", 0.35, 64, few)])
    assert table.row_count == 2
    assert "over 57 different test questions or more per task: ±0.13 at most." in terminal(table)
    lines = [line.replace("│", " ").split() for line in terminal(table).splitlines()]
    figures = ["0.350", "0.300", "0.400", "0.600", "–", "0.200", "0.500"]
    assert ["sums", *figures] in lines
    assert ["facts[b]", *figures] in lines


def test_runs_are_compared_by_their_own_figures(make_run: MakeRun) -> None:
    runs = [make_run("a"), make_run("b", asks=False, settings={"recipe": "grpo"})]
    first, second = comparison(runs)
    summary = runs[0].read(runs[0].summary)
    assert first["run"] == str(runs[0].path)
    assert (first["recipe"], second["recipe"], first["seed"]) == ("understudy", "grpo", 4)
    assert first["system ACC"] == summary["system"]["average_accuracy"] == first["quality"]
    assert first["quality, high"] == summary["quality"]["high"]
    assert first["worst user"] == min(summary["per_user"])
    assert first["local forgetting"] == summary["local"]["forgetting"]
    rates = [phase["training"]["settled_mean"] for phase in summary["phases"]]
    assert first["asked in training"] == pytest.approx(sum(rates) / 3)
    assert second["asked in training"] == 0.0
    assert first["dollars"] == summary["spend"]["dollars"]


def test_what_is_not_defined_is_a_dash(make_run: MakeRun) -> None:
    run = make_run(tasks=("sums",))
    (record,) = comparison([run])
    assert record["local BWT"] is None
    assert " – " in terminal(side_by_side([record]))


def test_an_unfinished_run_is_not_compared(make_run: MakeRun) -> None:
    run = make_run()
    run.summary.unlink()
    with pytest.raises(RunError, match="--resume"):
        comparison([run])


def test_a_summary_of_another_form_is_refused_by_the_key(make_run: MakeRun) -> None:
    run = make_run()
    change(run, "summary", lambda summary: summary.pop("spend"))
    with pytest.raises(RunError, match=r"summary\.json: cannot be read \(spend: "):
        comparison([run])
