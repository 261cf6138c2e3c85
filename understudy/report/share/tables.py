"""A run of agents that share as tables for a terminal."""

from __future__ import annotations

import math
from typing import Any

from rich.markup import escape
from rich.table import Table

from understudy.report.parts.numbers import count, number, size, small
from understudy.report.share.records import figure_of, fit_name, user_figure

Record = dict[str, Any]


def share_table(summary: Record) -> Table:
    """A row per variant, in the order of the settings; ± is the standard error over seeds."""
    table = Table(title="what sharing brought")
    table.add_column("variant", overflow="fold")
    for name in ("accuracy", "learning speed", "gain %", "floats", "bytes", "worst", "std. dev."):
        table.add_column(name, justify="right", no_wrap=True)
    for name, variant in summary["variants"].items():
        table.add_row(
            escape(name),
            _with_error(variant, "accuracy", 3),
            _with_error(variant, "learning_speed", 3),
            _with_error(variant, "gain", 2, sign="+"),
            count(variant["floats"]),
            size(variant["bytes"]),
            number(user_figure(variant, "worst"), 3),
            number(user_figure(variant, "std"), 3),
        )
    return table


def fits_table(summary: Record) -> Table:
    """A row per family of variants: the line of gain on ln(cost), and the gain per float."""
    table = Table(title="gain on ln(floats per edge and task)")
    table.add_column("shared")
    for name in ("variants", "slope", "intercept", "% per float"):
        table.add_column(name, justify="right")
    for fit in summary["fits"]:
        figures = (number(fit["slope"]), number(fit["intercept"]))
        worth = small(fit["value_of_information"])
        table.add_row(escape(fit_name(fit)), str(len(fit["variants"])), *figures, worth)
    return table


def _with_error(variant: Record, key: str, digits: int, sign: str = "") -> str:
    found, error = figure_of(variant, key), figure_of(variant, key, "standard_error")
    text = number(found, digits, sign)
    return text + (f" ± {number(error, digits)}" if math.isfinite(error) else "")
