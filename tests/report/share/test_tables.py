"""Runs of agents as tables for a terminal: the figures are the summary's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.pages import terminal
from tests.report.share.sharing import written_share_run
from understudy.report import comparison, tables
from understudy.report.parts.numbers import size


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_tables_of_a_terminal_hold_the_figures_of_the_summary(
    tmp_path: Path, seeds: int
) -> None:
    sketches = (
        ("[b]nothing", "modular", (), 0.0),
        ("some modules", "modular", ("modules",), 0.03),
        ("more modules", "modular", ("modules",), 0.04),
    )
    run = written_share_run(tmp_path / "run", sketches, seeds=seeds)
    summary = run.read(run.summary)
    text = terminal(*tables(run))
    for name, variant in summary["variants"].items():
        line = next(line for line in text.splitlines() if name in line)
        assert f"{variant['accuracy']['mean']:.3f}" in line
        assert f"{variant['floats']:,.0f}" in line
        assert size(variant["bytes"]) in line
        assert f"{variant['users']['unweighted']['worst']:.3f}" in line
        error = variant["accuracy"]["standard_error"]
        assert ("±" in line) == (error is not None or variant["gain"] is not None)
    (fit,) = summary["fits"]
    line = next(line for line in text.splitlines() if "modular, modules" in line)
    assert f"{fit['slope']:.2f}".replace("-", "−") in line
    assert f"{fit['value_of_information']:.3g}".replace("-", "−") in line


def test_the_most_accurate_variant_is_compared(tmp_path: Path) -> None:
    run = written_share_run(tmp_path / "run")
    (record,) = comparison([run])
    best = run.read(run.summary)["variants"]["modular, modules"]
    assert (record["recipe"], record["most accurate"]) == ("share", "modular, modules")
    assert record["quality"] == 0.9
    assert record["learning speed"] == best["learning_speed"]["mean"]
    assert record["gain, %"] == best["gain"]["mean"]
    assert record["floats"] == 7
