"""Plots that the pages of several loops have, each a function from its figures to one SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.metrics.measured import FloatArray
from understudy.report.parts.axes import label_ends, short, title, whole_numbers
from understudy.report.parts.colours import INK
from understudy.report.parts.layout import layout
from understudy.report.parts.numbers import last, number
from understudy.report.parts.svg import Style, drawing, svg

LONGEST = 32  # letters of a variant's name beside a plot


@dataclass(frozen=True)
class Dots:
    """A row of a plot: the figures of many, their mean and its standard error."""

    name: str
    values: FloatArray
    mean: float
    error: float
    colour: str
    point: str = "o"


@dataclass(frozen=True)
class Line:
    name: str
    x: FloatArray
    y: FloatArray
    colour: str
    point: str = "o"
    dash: Any = "-"


def dots_plot(rows: Sequence[Dots], name: str, head: str, label: str) -> str:
    """The first row on top. name: begins the ids of the drawing."""
    tall = 0.46 if layout().is_narrow else 0.34
    with drawing(0.9 + tall * len(rows)) as figure:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            look: Style = {"color": row.colour, "markeredgewidth": 0}
            axes.plot(row.values, np.full(row.values.size, place), "o", ms=5.5, alpha=0.35, **look)
            if np.isfinite(row.error):
                axes.errorbar(row.mean, place, xerr=row.error, color=row.colour, lw=2.2, zorder=3)
            axes.plot(row.mean, place, row.point, color=row.colour, ms=8, mec="white", zorder=4)
            axes.annotate(
                number(row.mean, 3),
                (1.01, place),
                xycoords=("axes fraction", "data"),
                va="center",
                color=row.colour,
            )
        axes.set_yticks(range(len(rows)), [row_name(row.name) for row in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x")
        axes.locator_params(axis="x", nbins=4 if layout().is_narrow else 9)
        axes.set_xlabel(label)
        title(figure, head)
        return svg(figure, name, head)


def row_name(name: str) -> str:
    """A row's name beside a plot: in two lines where there is little room."""
    return textwrap.fill(short(name, LONGEST), 18) if layout().is_narrow else short(name, LONGEST)


def lines_plot(lines: Sequence[Line], name: str, head: str, labels: tuple[str, str]) -> str:
    """Figures over whole numbers, such as epochs; each line has its name."""
    inches = 2.6 if layout().is_narrow else max(3.2, 0.6 + 0.24 * len(lines))
    with drawing(inches + 1.0) as figure:
        axes = figure.subplots()
        for line in lines:
            dots: Style = {"marker": line.point, "ms": 3.5, "mew": 0} if len(line.x) < 30 else {}
            look: Style = {"color": line.colour, "linestyle": line.dash, "alpha": 0.9}
            axes.plot(line.x, line.y, lw=1.7, **look, **dots)
        axes.margins(x=0.02)
        whole_numbers(axes, 6 if layout().is_narrow else 10)
        axes.set_xlabel(textwrap.fill(labels[0], 36) if layout().is_narrow else labels[0])
        axes.set_ylabel(labels[1])
        ends = [(last(line.y), short(line.name, LONGEST), line.colour) for line in lines]
        label_ends(axes, ends, height=inches)
        title(figure, head)
        return svg(figure, name, head)
