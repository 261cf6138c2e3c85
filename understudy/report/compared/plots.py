"""The plots of several runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from understudy.report.compared.records import ComparedRun
from understudy.report.parts.axes import legend, log_scale, short, title
from understudy.report.parts.layout import layout
from understudy.report.parts.numbers import mean
from understudy.report.parts.plots import LONGEST, Dots, dots_plot
from understudy.report.parts.svg import Style, drawing, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {
    "dollars": "dollars",
    "calls": "calls to a cloud",
    "tokens": "tokens of a cloud",
    "bytes": "bytes sent",
}


def units_of(runs: Sequence[ComparedRun]) -> list[str]:
    """What any of them spent in training."""
    return [unit for unit in _UNITS if any(run.record.get(unit) for run in runs)]


def cost_plot(runs: Sequence[ComparedRun]) -> str:
    """A panel for each unit that was spent; a run that spent none of it is a dashed line."""
    head = "Quality, with its 95 % interval, over what crossed in training; dashed: nothing did"
    units = units_of(runs)
    columns = 1 if layout().is_narrow else min(2, len(units))
    rows = math.ceil(len(units) / columns)
    with drawing(3.1 * rows + 0.5) as figure:
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(units):
                axes.set_visible(False)
                continue
            for run in runs:
                _point(axes, run, units[place])
            log_scale(axes, [run.record.get(units[place]) for run in runs])
            axes.set_xlabel(f"{_UNITS[units[place]]} (log scale)")
            if place % columns == 0:
                axes.set_ylabel("quality")
        handles = grid[0][0].get_legend_handles_labels()
        legend(figure, grid[0][columns - 1], handles)
        title(figure, head)
        return svg(figure, "cost", head)


def _point(axes: Axes, run: ComparedRun, unit: str) -> None:
    mean_, low, high = run.quality
    # The space: a legend leaves out what begins with an underscore.
    look: Style = {"color": run.colour, "label": f" {short(run.name, LONGEST)}"}
    spent = run.record.get(unit)
    if not spent:
        axes.axhline(mean_, linestyle=(0, (5, 3)), lw=1.3, **look)
        return
    if math.isfinite(low):
        reach: Any = [[mean_ - low], [high - mean_]]
        axes.errorbar(spent, mean_, yerr=reach, color=run.colour, lw=1.8, zorder=3)
    axes.plot(spent, mean_, "o", linestyle="none", ms=8, mec="white", zorder=4, **look)


def users_plot(runs: Sequence[ComparedRun]) -> str:
    """A row per run: every user."""
    rows = [Dots(run.name, run.per_user, mean(run.per_user), math.nan, run.colour) for run in runs]
    head = "Every user: a task of a stream, an agent, a client (pale), and their mean"
    return dots_plot(rows, "users", head, "accuracy")
