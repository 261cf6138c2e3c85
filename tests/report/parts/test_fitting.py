"""Tables in windows of 60 and 80 characters: every name and every figure is there, whole."""

from __future__ import annotations

import pytest

from tests.report.pages import terminal
from understudy.report.parts.fitting import parts_that_fit
from understudy.report.parts.tables import Table, side_by_side

NAMES = ("1 facts+strings+stories", "2 strings", "all tasks, at the end")
HEADS = ("phase", "budget", "asked in training", "asked as served", "local before", "local")
HEADS += ("system", "cloud alone", "macro-F1", "constant")


def figures(row: int) -> list[str]:
    return [f"{row}.{column}234" for column in range(1, len(HEADS))]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_row_s_name_and_no_figure_is_lost(width: int) -> None:
    rows = [[name, *figures(row)] for row, name in enumerate(NAMES)]
    table = Table(HEADS, rows[:-1], total=rows[-1]).for_terminal("phase by phase")
    parts = parts_that_fit(table, width)
    texts = [terminal(part, width=width) for part in parts]
    assert all(len(line) <= width for text in texts for line in text.splitlines())
    words = [
        {word for line in t.splitlines() for word in line.replace("│", " ").split()} for t in texts
    ]
    for row, name in enumerate(NAMES):
        assert all(name.split()[0] in each for each in words)
        assert all(any(figure in each for each in words) for figure in figures(row))
    assert (len(parts) == 1) is (width == 200)
    assert sum("phase by phase" in text for text in texts) == 1


def test_runs_side_by_side_keep_their_figures_whole() -> None:
    records = [
        {"run": "runs/" + "long/" * 9 + str(i), "tokens": 123456789012 + i} for i in range(6)
    ]
    parts = parts_that_fit(side_by_side(records), 60)
    text = "".join(terminal(part, width=60) for part in parts)
    assert all(f"{record['tokens']:,}" in text for record in records)
