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
from understudy.report.parts.numbers import last, mean_along, number
from understudy.report.parts.svg import (
    INK,
    QUIET,
    TASKS,
    WIDTH,
    drawing,
    label_ends,
    panel_size,
    short,
    small_multiples,
    svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST = 32  # letters of a variant's name beside a plot
_PER_ROW = 4  # panels
_MOST_PANELS = 24
_LETTERS = 12  # tasks, up to which a matrix has its figures written in it


def colours_of(variants: Variants) -> dict[str, str]:
    return {name: TASKS[place % len(TASKS)] for place, name in enumerate(variants)}


def clients_plot(variants: Variants) -> str:
    """A row per variant, the most accurate on top: every client of every seed, and their mean."""
    names, colours = by_accuracy(variants), colours_of(variants)
    title = "Final accuracy: clients of all seeds (pale), mean and its standard error"
    with drawing(WIDTH, 0.9 + 0.34 * len(names)) as figure:
        axes = figure.subplots()
        for row, name in enumerate(names):
            each, colour = variants[name], colours[name]
            found = np.array([c.accuracy for seed in each.seeds for c in seed.clients], dtype=float)
            axes.plot(found, np.full(found.size, row), "o", ms=5.5, alpha=0.35, color=colour, mew=0)
            middle, error = mean_of(each.accuracy), error_of(each.accuracy)
            if np.isfinite(error):
                axes.errorbar(middle, row, xerr=error, color=colour, lw=2.2, zorder=3)
            axes.plot(middle, row, "o", color=colour, ms=8, mec="white", zorder=4)
            axes.annotate(
                number(middle, 3),
                (1.01, row),
                xycoords=("axes fraction", "data"),
                va="center",
                color=colour,
            )
        axes.set_yticks(range(len(names)), [short(name, _LONGEST) for name in names])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="x")
        axes.set_xlabel("accuracy, mean over a client's tasks")
        axes.set_title(title)
        return svg(figure, "clients", title)


def curve_plot(curves: Mapping[str, tuple[FloatArray, FloatArray]], variants: Variants) -> str:
    """Accuracy on the tasks so far over the rounds, mean over clients."""
    title, colours = "Accuracy on the tasks so far, mean over clients", colours_of(variants)
    with drawing(WIDTH, max(3.8, 1.6 + 0.24 * len(curves))) as figure:
        axes, ends = figure.subplots(), []
        for name, (rounds, accuracy) in curves.items():
            middle = mean_along(accuracy, axis=1)
            axes.plot(rounds, middle, color=colours[name], marker="o", ms=3.5, mew=0)
            ends.append((last(middle), short(name, _LONGEST), colours[name]))
        axes.margins(x=0.02)
        axes.set_xlabel("rounds gone through (0: before training, on all tasks)")
        axes.set_ylabel("accuracy")
        axes.set_title(title)
        label_ends(axes, ends, height=max(2.9, 0.6 + 0.24 * len(curves)))
        return svg(figure, "curve", title)


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
    title = f"Client by client: {short(name, 40)}"
    if len(clients) > _MOST_PANELS:
        title += f"; the first {_MOST_PANELS} of {len(clients)}"
    return _matrices("each", title, shown)


def overlap_plot(variant: VariantResult) -> str:
    """Which clients hold the same classes, of the first seed."""
    clients = variant.seeds[0].clients
    title = "Classes that two clients have in common, as a share of all that they have"
    side = min(6.5, 1.6 + 0.45 * len(clients))
    with drawing(side + 1.2, side) as figure:
        axes = figure.subplots()
        _heat(axes, overlap(clients), written=len(clients) <= _LETTERS)
        ticks = range(0, len(clients), max(1, len(clients) // 12))
        names = [str(clients[place].client) for place in ticks]
        axes.set_xticks(ticks, names)
        axes.set_yticks(ticks, names)
        axes.set_xlabel("client")
        axes.set_ylabel("client")
        return svg(figure, "overlap", title)


def spread_plot(variant: VariantResult, name: str) -> str:
    """Each client's accuracy over how many samples it learnt from."""
    title = f"Accuracy over training samples, client by client: {short(name, 40)}"
    accuracy = over_seeds(variant, "accuracy")
    samples = [sum(seeds[0].train) for _, seeds in clients_of(variant)]
    forgotten = over_seeds(variant, "forgetting")
    with drawing(WIDTH, 3.6) as figure:
        left, right = figure.subplots(1, 2)
        for axes, values, label in (
            (left, accuracy, "accuracy at the end"),
            (right, forgotten, "forgetting"),
        ):
            axes.plot(samples, values, "o", color=TASKS[0], ms=6, mec="white")
            if len(samples) <= _LETTERS:
                for (client, _), x, y in zip(clients_of(variant), samples, values, strict=True):
                    axes.annotate(f" {client}", (x, y), color=QUIET)
            axes.set_xlabel("training samples of all tasks")
            axes.set_ylabel(label)
            axes.margins(0.12)
        left.set_title(title)
        return svg(figure, "spread", title)


def _matrices(name: str, title: str, shown: Sequence[tuple[str, FloatArray]]) -> str:
    def draw(axes: Axes, head: str, matrix: FloatArray) -> None:
        _heat(axes, matrix, written=len(matrix) <= _LETTERS)
        axes.set_title(head, fontsize=10)

    with drawing(*panel_size(len(shown), _PER_ROW)) as figure:
        small_multiples(figure, shown, draw, title, ("task", "after task"), _PER_ROW)
        return svg(figure, name, title)


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
