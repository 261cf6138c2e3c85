"""The style of every plot of a report, and figures as SVG that is the same bytes each time.

matplotlib is imported where a figure is made: commands that draw nothing do not wait for it.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from understudy.report.parts.colours import INK, QUIET
from understudy.report.parts.layout import layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Style = dict[str, Any]  # arguments of matplotlib that say how something looks

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
    "axes.titlesize": 10.0,
    "axes.titlepad": 7.0,
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
def drawing(height: float, width: float | None = None) -> Iterator[Figure]:
    """An empty figure, in inches, as wide as the page; the style holds inside the `with` block."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        size = (min(width or layout().width, layout().width), height)
        yield Figure(figsize=size, layout="constrained", facecolor="none")


def svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an <svg> element. name: begins its ids, so that no two plots share one."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=_NO_METADATA)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{layout().name}{name}-", text)
    width = round(figure.get_figwidth() * _PIXELS_PER_INCH)
    # The page decides the size; the viewBox keeps the shape.
    own = f' role="img" aria-label="{html.escape(description)}" style="width: min(100%, {width}px)"'
    return re.sub(r' width="[^"]*pt" height="[^"]*pt"', lambda _: own, text, count=1).strip()
