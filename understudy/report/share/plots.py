"""The plots of a run of agents that share, each a function from its figures to one SVG element."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.metrics.measured import FloatArray
from understudy.report.parts.numbers import amount, last, mean_along, measured, number
from understudy.report.parts.svg import (
    INK,
    LOCAL,
    QUIET,
    SYSTEM,
    TASKS,
    WIDTH,
    Style,
    drawing,
    label_ends,
    panel_size,
    short,
    small_multiples,
    svg,
)
from understudy.report.share.records import (
    Curve,
    Mark,
    agents_of,
    base_of,
    by_accuracy,
    error_of,
    mean_of,
)
from understudy.share.records import Fit, Number, VariantResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Variants = Mapping[str, VariantResult]
Marks = Mapping[str, Mark]

_LONGEST = 32  # letters of a variant's name beside a plot
_PER_ROW = 3  # panels of variants
_MOST_PANELS = 40


def agents_plot(variants: Variants, marks: Marks) -> str:
    """A row per variant, the most accurate on top: every agent, and their mean."""
    names = by_accuracy(variants)
    title = "Final accuracy: agents of all seeds (pale), mean and its standard error"
    with drawing(WIDTH, 0.9 + 0.34 * len(names)) as figure:
        axes = figure.subplots()
        for row, name in enumerate(names):
            accuracies, mark = agents_of(variants[name]).ravel(), marks[name]
            look: Style = {"color": mark.colour, "markeredgewidth": 0}
            axes.plot(accuracies, np.full(accuracies.size, row), "o", ms=5.5, alpha=0.35, **look)
            middle = mean_of(variants[name].accuracy)
            _error_bar(axes, middle, row, variants[name], mark, "x")
            axes.plot(middle, row, mark.point, color=mark.colour, ms=8, mec="white", zorder=4)
            axes.annotate(
                number(middle, 3),
                (1.01, row),
                xycoords=("axes fraction", "data"),
                va="center",
                color=mark.colour,
            )
        axes.set_yticks(range(len(names)), [short(name, _LONGEST) for name in names])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="x")
        axes.set_xlabel("accuracy, mean over an agent's tasks")
        axes.set_title(title)
        return svg(figure, "agents", title)


def task_plot(curves: Mapping[str, Curve], marks: Marks) -> str:
    """All variants' learning curves within a task."""
    title = "Within a task: accuracy on all tasks seen so far, mean over agents and later tasks"
    with drawing(WIDTH, max(4.2, 1.6 + 0.24 * len(curves))) as figure:
        axes = figure.subplots()
        ends = []
        for name, curve in curves.items():
            epochs, accuracies = curve.within_a_task()
            mark = marks[name]
            dots: Style = {"marker": mark.point, "ms": 3.5, "mew": 0} if len(epochs) < 30 else {}
            axes.plot(
                epochs,
                accuracies,
                color=mark.colour,
                linestyle=mark.line,
                lw=1.7,
                alpha=0.9,
                **dots,
            )
            ends.append((last(accuracies), short(name, _LONGEST), mark.colour))
        axes.margins(x=0.01)
        axes.set_xlabel("epoch of the task")
        axes.set_ylabel("accuracy")
        axes.set_title(title)
        label_ends(axes, ends, height=max(3.2, 0.6 + 0.24 * len(curves)))
        return svg(figure, "task", title)


def variant_panels(variants: Variants, curves: Mapping[str, Curve]) -> str:
    """A panel per variant: its agents over the whole run, and the one that shares nothing."""
    shown = [(name,) for name in variants if name in curves]

    def draw(axes: Axes, name: str) -> None:
        own, base = curves[name], base_of(variants, name)
        spread = own.agents
        low, high = _edge_of(spread, np.fmin), _edge_of(spread, np.fmax)
        axes.fill_between(own.when, low, high, color=SYSTEM, alpha=0.2, linewidth=0)
        if base is not None and base in curves:
            axes.plot(curves[base].when, _middle(curves[base]), color=LOCAL, lw=1.1)
        axes.plot(own.when, _middle(own), color=SYSTEM, linewidth=1.6)
        axes.set_title(short(name, 34), fontsize=10)
        axes.locator_params(axis="x", integer=True)

    title = (
        "Over the tasks: mean of the agents (blue), from the worst to the best (band), "
        "nothing shared (orange)"
    )
    with drawing(*panel_size(len(shown), _PER_ROW)) as figure:
        labels = ("tasks gone through", "accuracy")
        small_multiples(figure, shown, draw, title, labels, _PER_ROW)
        return svg(figure, "variants", title)


def agent_panels(variants: Variants, curves: Mapping[str, Curve], best: str) -> str:
    """A panel per agent: the most accurate variant beside the one that shares nothing."""
    own, base = curves[best], base_of(variants, best)
    alone = curves.get(base) if base is not None else None
    total = own.agents.shape[1]
    shown = [(agent,) for agent in range(min(total, _MOST_PANELS))]

    def draw(axes: Axes, agent: int) -> None:
        if alone is not None and agent < alone.agents.shape[1]:
            axes.plot(alone.when, alone.agents[:, agent], color=LOCAL, lw=1.1)
        axes.plot(own.when, own.agents[:, agent], color=SYSTEM, lw=1.6)
        axes.set_title(f"agent {agent}", fontsize=10)
        axes.locator_params(axis="x", integer=True)

    title = f"Agent by agent: {short(best, 40)} (blue)"
    title += f", {short(base or '', 40)} (orange)" if alone is not None else ""
    title += f"; the first {_MOST_PANELS} of {total}" if total > _MOST_PANELS else ""
    per_row = 4 if total <= 8 else 5
    with drawing(*panel_size(len(shown), per_row)) as figure:
        small_multiples(figure, shown, draw, title, ("tasks gone through", "accuracy"), per_row)
        return svg(figure, "each", title)


def cost_plot(variants: Variants, marks: Marks) -> str:
    """Accuracy over what was sent, in floats and in bytes."""
    title = "Accuracy over what a population sent; dashed: nothing sent"
    with drawing(WIDTH, max(4.4, 1.6 + 0.25 * len(variants))) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, unit in zip(panels, ("floats", "bytes"), strict=True):
            for name, variant in variants.items():
                _cost_point(axes, name, variant, unit, marks[name])
            axes.set_xlabel(f"{unit} sent (log scale)")
            _log_scale(axes, [_sent(variant, unit) for variant in variants.values()])
        panels[0].set_ylabel("final accuracy")
        handles, labels = panels[0].get_legend_handles_labels()
        panels[0].set_title(title)
        corner: Style = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.02)}
        panels[1].legend(handles, labels, frameon=False, **corner)
        return svg(figure, "cost", title)


def fit_plot(variants: Variants, fits: Sequence[Fit], marks: Marks) -> str:
    """Gain over the cost of an edge and task, with the line of each family of variants."""
    title = "What sharing more is worth: gain over ln(cost)"
    with drawing(WIDTH, max(4.0, 1.4 + 0.5 * len(fits))) as figure:
        axes = figure.subplots()
        for place, fit in enumerate(fits):
            own = [variants[name] for name in fit.variants if name in variants]
            costs = measured([variant.cost for variant in own])
            gains = np.array([mean_of(variant.gain) for variant in own])
            good = np.isfinite(gains) & (costs > 0)
            colour = TASKS[place % len(TASKS)]
            point = marks[fit.variants[0]].point if fit.variants[0] in marks else "o"
            label = f" {short(fit.name, _LONGEST)}\n slope {number(fit.slope)}"
            axes.plot(costs[good], gains[good], point, color=colour, ms=7, mec="white", zorder=3)
            axes.plot(*_line(costs[good], fit), color=colour, lw=1.6, label=label)
        axes.axhline(0, color=QUIET, lw=0.8)
        _log_scale(axes, [variant.cost for variant in variants.values()])
        axes.set_xlabel("floats per edge and task (log scale)")
        axes.set_ylabel("gain over sharing nothing, percent")
        axes.set_title(title)
        corner: Style = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.02)}
        axes.legend(frameon=False, labelspacing=0.9, **corner)
        return svg(figure, "fit", title)


def _cost_point(axes: Axes, name: str, variant: VariantResult, unit: str, mark: Mark) -> None:
    accuracy, sent = mean_of(variant.accuracy), _sent(variant, unit)
    # The space: a legend leaves out what begins with an underscore.
    look: Style = {"color": mark.colour, "label": f" {short(name, _LONGEST)}"}
    if not sent:
        dashes = (5, 3) if mark.line == "-" else (1.5, 1.5)
        axes.axhline(accuracy, linestyle=(0, dashes), lw=1.3, **look)
        return
    _error_bar(axes, sent, accuracy, variant, mark, "y")
    axes.plot(sent, accuracy, mark.point, linestyle="none", ms=8, mec="white", zorder=4, **look)


def _sent(variant: VariantResult, unit: str) -> Number:
    return variant.floats if unit == "floats" else variant.bytes


def _error_bar(
    axes: Axes, x: float, y: float, variant: VariantResult, mark: Mark, along: str
) -> None:
    error = error_of(variant.accuracy)
    if math.isfinite(error):
        errors: Style = {f"{along}err": error}
        axes.errorbar(x, y, color=mark.colour, lw=2.2, zorder=3, **errors)


def _log_scale(axes: Axes, values: list[float | None]) -> None:
    """Decades along x; in between, too, where there is hardly one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    known = [value for value in values if value]
    if not known:
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    axes.margins(x=0.12)
    steps = (1.0,) if max(known) > 30 * min(known) else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _line(costs: FloatArray, fit: Fit) -> tuple[FloatArray, FloatArray]:
    """The fitted line over the costs it was fitted to."""
    if not costs.size or fit.slope is None or fit.intercept is None:
        return np.array([]), np.array([])
    x = np.geomspace(costs.min(), costs.max(), 2)
    return x, fit.slope * np.log(x) + fit.intercept


def _middle(curve: Curve) -> FloatArray:
    return mean_along(curve.agents, axis=1)


def _edge_of(values: FloatArray, edge: Any) -> FloatArray:
    """The least or the greatest of each row, leaving out what was not measured."""
    return np.asarray(edge.reduce(values, axis=1))
