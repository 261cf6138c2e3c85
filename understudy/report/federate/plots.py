"""The plots of a federation, each a function from its figures to one SVG element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from understudy.federate.records import VariantResult
from understudy.metrics.measured import FloatArray
from understudy.report.federate.records import (
    Variants,
    by_accuracy,
    clients_of,
    error_of,
    matrix_of,
    mean_of,
    over_seeds,
    overlap,
)
from understudy.report.parts.axes import (
    panel_title,
    panels_height,
    short,
    small_multiples,
    title,
)
from understudy.report.parts.colours import INK, QUIET, TASKS, colour_of
from understudy.report.parts.layout import layout
from understudy.report.parts.numbers import mean_along, number
from understudy.report.parts.plots import Dots, Line, dots_plot, lines_plot
from understudy.report.parts.svg import drawing, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PER_ROW = 4  # panels
_MOST_PANELS = 24
_LETTERS = 12  # tasks, up to which a matrix has its figures written in it
_NARROW_LETTERS = 5


def colours_of(variants: Variants) -> dict[str, str]:
    return {name: colour_of(place) for place, name in enumerate(variants)}


def clients_plot(variants: Variants) -> str:
    """A row per variant, the most accurate on top: every client of every seed, and their mean."""
    colours, rows = colours_of(variants), []
    for name in by_accuracy(variants):
        each = variants[name]
        found = np.array([c.accuracy for seed in each.seeds for c in seed.clients], dtype=float)
        mean, error = mean_of(each.accuracy), error_of(each.accuracy)
        rows.append(Dots(name, found, mean, error, colours[name]))
    head = "Final accuracy: clients of all seeds (pale), mean and its standard error"
    return dots_plot(rows, "clients", head, "accuracy, mean over a client's tasks")


def curve_plot(curves: Mapping[str, tuple[FloatArray, FloatArray]], variants: Variants) -> str:
    """Accuracy on the tasks so far over the rounds, mean over clients."""
    colours = colours_of(variants)
    lines = [
        Line(name, rounds, mean_along(accuracy, axis=1), colours[name])
        for name, (rounds, accuracy) in curves.items()
    ]
    head = "Accuracy on the tasks so far, mean over clients"
    labels = ("rounds gone through (0: before training, on all tasks)", "accuracy")
    return lines_plot(lines, "curve", head, labels)


def pooled_panels(variants: Variants) -> str:
    """A matrix per variant, of all clients' test samples together, mean over seeds."""
    shown = [
        (short(name, 30), matrix_of(seed.matrix for seed in each.seeds))
        for name, each in variants.items()
    ]
    return _matrices(
        "pooled", "Accuracy on each task (column) after each (row), all clients", shown
    )


def client_panels(variant: VariantResult, name: str) -> str:
    """A matrix per client of one variant, mean over seeds."""
    clients = clients_of(variant)
    shown = [
        (f"client {number}", matrix_of(each.matrix for each in seeds))
        for number, seeds in clients[:_MOST_PANELS]
    ]
    head = f"Client by client: {short(name, 40)}"
    if len(clients) > _MOST_PANELS:
        head += f"; the first {_MOST_PANELS} of {len(clients)}"
    return _matrices("each", head, shown)


def overlap_plot(variant: VariantResult) -> str:
    """Which clients hold the same classes, of the first seed."""
    clients = variant.seeds[0].clients
    head = "Classes that two clients have in common, as a share of all that they have"
    side = min(layout().width - 0.4, 6.5, 1.6 + 0.45 * len(clients))
    with drawing(side + 0.4, side + 1.2) as figure:
        axes = figure.subplots()
        _heat(axes, overlap(clients), written=len(clients) <= _letters() + 3)
        ticks = range(0, len(clients), max(1, len(clients) // 12))
        names = [str(clients[place].client) for place in ticks]
        axes.set_xticks(ticks, names)
        axes.set_yticks(ticks, names)
        axes.set_xlabel("client")
        axes.set_ylabel("client")
        title(figure, head)
        return svg(figure, "overlap", head)


def spread_plot(variant: VariantResult, name: str) -> str:
    """Each client's accuracy over how many samples it learnt from."""
    head = f"Accuracy over training samples, client by client: {short(name, 40)}"
    accuracy = over_seeds(variant, "accuracy")
    samples = [sum(seeds[0].train) for _, seeds in clients_of(variant)]
    forgotten = over_seeds(variant, "forgetting")
    narrow = layout().is_narrow
    with drawing(5.0 if narrow else 3.6) as figure:
        panels = figure.subplots(*((2, 1) if narrow else (1, 2)))
        for axes, values, label in zip(
            panels, (accuracy, forgotten), ("accuracy at the end", "forgetting"), strict=True
        ):
            axes.plot(samples, values, "o", color=TASKS[0], ms=6, mec="white")
            if len(samples) <= _LETTERS:
                for (client, _), x, y in zip(clients_of(variant), samples, values, strict=True):
                    axes.annotate(f" {client}", (x, y), color=QUIET)
            axes.set_xlabel("training samples of all tasks")
            axes.set_ylabel(label)
            axes.margins(0.12)
        title(figure, head)
        return svg(figure, "spread", head)


def _matrices(name: str, head: str, shown: Sequence[tuple[str, FloatArray]]) -> str:
    def draw(axes: Axes, text: str, matrix: FloatArray) -> None:
        _heat(axes, matrix, written=len(matrix) <= _letters())
        panel_title(axes, text)

    with drawing(panels_height(len(shown), _PER_ROW)) as figure:
        small_multiples(figure, shown, draw, head, ("task", "after task"), _PER_ROW)
        return svg(figure, name, head)


def _letters() -> int:
    return _NARROW_LETTERS if layout().is_narrow else _LETTERS


def _heat(axes: Axes, matrix: FloatArray, written: bool) -> None:
    """Shares as shades, from 0 to 1; the first row on top."""
    rows, columns = (np.arange(length + 1) - 0.5 for length in matrix.shape)
    known = np.ma.masked_invalid(matrix)
    axes.pcolormesh(columns, rows, known, cmap="Blues", vmin=0, vmax=1, edgecolors="white", lw=0.5)
    axes.set_ylim(rows[-1], rows[0])
    axes.grid(False)
    if matrix.shape[0] <= _LETTERS:
        places = range(len(matrix))
        axes.set_xticks(places, [str(place + 1) for place in places])
        axes.set_yticks(places, [str(place + 1) for place in places])
    if not written:
        return
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            colour = "white" if value > 0.6 else INK
            axes.text(column, row, number(value), ha="center", va="center", color=colour, size=8)
