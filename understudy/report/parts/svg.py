"""The style of every plot of a report, and figures as SVG that is the same bytes each time.

matplotlib is imported where a figure is made: commands that draw nothing do not wait for it.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.metrics.measured import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Style = dict[str, Any]  # arguments of matplotlib that say how something looks

WIDTH = 10.0  # inches; the width of the page

# Colours that the common kinds of colour blindness keep apart (Okabe and Ito; Tol's muted set).
LOCAL, SYSTEM, ASKED, PRICE = "#C75B00", "#0072B2", "#007A5A", "#8A3F8A"
INK, QUIET, SHADE = "#22262b", "#667079", "#f1f3f5"
TASKS = tuple(
    f"#{colour}"
    for colour in (
        *("332288", "CC6677", "117733", "AA8F1B", "4A9CC4"),
        *("882255", "2F8F80", "777722", "AA4499", "777777"),
    )
)

_STYLE = {
    "svg.hashsalt": "understudy",  # without a salt the ids are drawn anew each time
    "svg.fonttype": "path",  # the page looks the same whatever fonts its reader has
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": "#aab2b9",
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlepad": 9.0,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e3e7ea",
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
}
_PIXELS_PER_INCH = 106
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """An empty figure, in inches; the style holds inside the `with` block."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield Figure(figsize=(width, height), layout="constrained", facecolor="none")


def svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an <svg> element. name: begins its ids, so that no two plots share one."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=_NO_METADATA)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    width = round(figure.get_figwidth() * _PIXELS_PER_INCH)
    # The page decides the size; the viewBox keeps the shape.
    own = f' role="img" aria-label="{html.escape(description)}" style="width: min(100%, {width}px)"'
    return re.sub(r' width="[^"]*pt" height="[^"]*pt"', lambda _: own, text, count=1).strip()


def panel_size(panels: int, per_row: int) -> tuple[float, float]:
    """Inches of a figure of small multiples."""
    return WIDTH, 2.3 * math.ceil(panels / _columns(panels, per_row)) + 0.5


def small_multiples(
    figure: Figure,
    panels: Sequence[tuple[Any, ...]],
    draw: Callable[..., None],
    title: str,
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
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")


def _columns(panels: int, per_row: int) -> int:
    return min(per_row, max(panels, 3))


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


def label_ends(axes: Axes, ends: list[tuple[float, str, str]], height: float) -> None:
    """Name lines at their right ends, moved apart where the names would touch.

    ends: (value, text, colour) each; height: of the axes in inches, about.
    """
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    ends = sorted(end for end in ends if np.isfinite(end[0]))
    places = spread([value for value, _, _ in ends], 0.19 / height * (high - low), low, high)
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


def short(text: str, most: int = 14) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
