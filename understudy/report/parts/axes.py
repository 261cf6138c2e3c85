"""What the plots of all pages are made of: titles, legends, panels, axes of logarithms."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.metrics.measured import FloatArray
from understudy.report.parts.colours import QUIET
from understudy.report.parts.layout import layout
from understudy.report.parts.numbers import amount
from understudy.report.parts.svg import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE = 0.19  # inches from a line of text to the next
_PANEL_LETTERS = 21  # of a panel's title on a narrow page


def title(figure: Figure, text: str) -> None:
    """Above the whole figure, in lines that fit."""
    lines = textwrap.wrap(text, layout().title_letters)
    add_height(figure, _LINE * (len(lines) - 1))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11.5, fontweight="bold")


def add_height(figure: Figure, inches: float) -> None:
    figure.set_figheight(figure.get_figheight() + inches)


def legend(
    figure: Figure, axes: Axes, entries: tuple[Sequence[Any], Sequence[str]], head: str = ""
) -> None:
    """Beside the axes, or below the figure where there is no room beside. entries: handles, and
    their labels, as `axes.get_legend_handles_labels()` has them."""
    handles, labels = entries
    look: Style = {"frameon": False, "alignment": "left", "title": head or None}
    if layout().is_narrow:
        add_height(figure, 1.2 * _LINE * sum(1 + label.count("\n") for label in (*labels, head)))
        found = figure.legend(handles, labels, loc="outside lower left", **look)
    else:
        corner: Style = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.02)}
        found = axes.legend(handles, labels, labelspacing=0.7, **corner, **look)
    found.get_title().set_color(QUIET)


def small_multiples(
    figure: Figure,
    panels: Sequence[tuple[Any, ...]],
    draw: Callable[..., None],
    head: str,
    labels: tuple[str, str],
    per_row: int = 5,
) -> None:
    """draw(axes, *panel) for each panel, row by row, with the same limits for all."""
    columns = _columns(len(panels), per_row)
    rows = math.ceil(len(panels) / columns)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        draw(axes, *panels[place])
        if place + columns >= len(panels):  # the lowest of its column
            axes.set_xlabel(labels[0])
            axes.tick_params(labelbottom=True)
        if place % columns == 0:
            axes.set_ylabel(labels[1])
    title(figure, head)


def panels_height(panels: int, per_row: int) -> float:
    """Inches of a figure of small multiples."""
    row = 1.95 if layout().is_narrow else 2.3
    return row * math.ceil(panels / _columns(panels, per_row)) + 0.5


def panel_title(axes: Axes, text: str) -> None:
    if layout().is_narrow:
        axes.set_title(textwrap.fill(text, _PANEL_LETTERS), fontsize=9)
    else:
        axes.set_title(text)


def _columns(panels: int, per_row: int) -> int:
    return min(2, panels) if layout().is_narrow else min(per_row, max(panels, 3))


def whole_numbers(axes: Axes, most: int = 10) -> None:
    """Ticks of x where half an epoch, a round or a task is nothing."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True))


def log_scale(axes: Axes, values: Sequence[float | None]) -> None:
    """An axis x of logarithms with numbers on it, wide enough that near values lie near."""
    from matplotlib.ticker import NullLocator

    known = [value for value in values if value and math.isfinite(value)]
    if not known:
        axes.set_xticks([])
        return
    pad = max(1.25, (max(known) / min(known)) ** 0.12)
    low, high = min(known) / pad, max(known) * pad
    ticks = {amount(tick): tick for tick in log_ticks(low, high)}
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(list(ticks.values()), list(ticks))
    axes.xaxis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high: powers of ten, with 2 and 5 in between, with every whole
    number in between, whichever come first to three; or evenly apart, where even those do not.

    >>> log_ticks(5, 2000), log_ticks(3, 30), log_ticks(90, 120)
    ([10.0, 100.0, 1000.0], [5.0, 10.0, 20.0], [90.0, 100.0, 110.0, 120.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        found = [float(step * 10.0**power) for power in powers for step in steps]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) > 2:
            return found[:: math.ceil(len(found) / 6)]
    unit = 10.0 ** math.floor(math.log10(high - low))
    step = next(unit * part for part in (2, 1, 0.5, 0.2) if (high - low) / (unit * part) >= 3)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def label_ends(axes: Axes, ends: list[tuple[float, str, str]], height: float) -> None:
    """Name lines at their right ends, moved apart where the names would touch; on a narrow page
    below the figure.

    ends: (value, text, colour) each; height: of the axes in inches, about.
    """
    ends = sorted(end for end in ends if np.isfinite(end[0]))
    if layout().is_narrow:
        _name_below(axes, ends)
        return
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    places = spread([value for value, _, _ in ends], _LINE / height * (high - low), low, high)
    for (value, text, colour), place in zip(ends, places, strict=True):
        axes.annotate(
            text,
            xy=(right, value),
            xytext=(14, (place - value) / (high - low) * height * 72),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "alpha": 0.5,
                "lw": 0.7,
                "shrinkA": 1,
                "shrinkB": 1,
                "relpos": (0.0, 0.5),
            },
        )


def _name_below(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """The topmost line first."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    assert isinstance(axes.figure, Figure)
    handles = [Line2D([], [], color=colour) for _, _, colour in reversed(ends)]
    legend(axes.figure, axes, (handles, [f" {text}" for _, text, _ in reversed(ends)]))


def spread(values: list[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending values moved at least `gap` apart, inside [low, high] as far as there is room."""
    places = list(values)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    ceiling = max(high, low + gap * (len(places) - 1))
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return places


def smoothed(values: FloatArray, phases: FloatArray, window: int) -> FloatArray:
    """The mean of the measured values around each step, never across a switch."""
    result = np.full(values.shape, np.nan)
    for phase in np.unique(phases):
        own = np.flatnonzero(phases == phase)
        for step in own:
            near = own[np.abs(own - step) <= window // 2]
            known = values[near][np.isfinite(values[near])]
            if known.size:
                result[step] = known.mean()
    return result


def short(text: str, most: int = 14) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
