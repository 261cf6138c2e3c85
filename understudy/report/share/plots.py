"""The plots of a run of agents that share, each a function from its figures to one SVG element."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.metrics.measured import FloatArray
from understudy.report.parts.axes import (
    legend,
    log_scale,
    panel_title,
    panels_height,
    short,
    small_multiples,
    title,
    whole_numbers,
)
from understudy.report.parts.colours import LOCAL, QUIET, SYSTEM
from understudy.report.parts.layout import layout
from understudy.report.parts.numbers import mean_along, number
from understudy.report.parts.plots import LONGEST, Dots, Line, dots_plot, lines_plot
from understudy.report.parts.svg import Style, drawing, svg
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

_PER_ROW = 3  # panels of variants
_MOST_PANELS = 40
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


def agents_plot(variants: Variants, marks: Marks) -> str:
    """A row per variant, the most accurate on top: every agent, and their mean."""
    rows = [
        Dots(
            name,
            agents_of(variants[name]).ravel(),
            mean_of(variants[name].accuracy),
            error_of(variants[name].accuracy),
            marks[name].colour,
            marks[name].point,
        )
        for name in by_accuracy(variants)
    ]
    head = "Final accuracy: agents of all seeds (pale), mean and its standard error"
    return dots_plot(rows, "agents", head, "accuracy, mean over an agent's tasks")


def task_plot(curves: Mapping[str, Curve], marks: Marks) -> str:
    """All variants' learning curves within a task."""
    lines = [
        Line(name, *curve.within_a_task(), marks[name].colour, marks[name].point, marks[name].line)
        for name, curve in curves.items()
    ]
    head = "Within a task: accuracy on all tasks seen so far, mean over agents and later tasks"
    return lines_plot(lines, "task", head, ("epoch of the task", "accuracy"))


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
        panel_title(axes, short(name, 34))
        whole_numbers(axes)

    head = (
        "Over the tasks: mean of the agents (blue), from the worst to the best (band), "
        "nothing shared (orange)"
    )
    with drawing(panels_height(len(shown), _PER_ROW)) as figure:
        labels = ("tasks gone through", "accuracy")
        small_multiples(figure, shown, draw, head, labels, _PER_ROW)
        return svg(figure, "variants", head)


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
        panel_title(axes, f"agent {agent}")
        whole_numbers(axes)

    head = f"Agent by agent: {short(best, 40)} (blue)"
    head += f", {short(base or '', 40)} (orange)" if alone is not None else ""
    head += f"; the first {_MOST_PANELS} of {total}" if total > _MOST_PANELS else ""
    per_row = 4 if total <= 8 else 5
    with drawing(panels_height(len(shown), per_row)) as figure:
        small_multiples(figure, shown, draw, head, ("tasks gone through", "accuracy"), per_row)
        return svg(figure, "each", head)


def cost_plot(variants: Variants, marks: Marks) -> str:
    """Accuracy over what was sent, in floats and in bytes."""
    head = "Accuracy over what a population sent; dashed: nothing sent"
    narrow = layout().is_narrow
    with drawing(5.2 if narrow else max(4.4, 1.6 + 0.25 * len(variants))) as figure:
        panels = figure.subplots(*((2, 1) if narrow else (1, 2)), sharey=True)
        for axes, unit in zip(panels, ("floats", "bytes"), strict=True):
            for name, variant in variants.items():
                _cost_point(axes, name, variant, unit, marks[name])
            axes.set_xlabel(f"{unit} sent (log scale)")
            log_scale(axes, [_sent(variant, unit) for variant in variants.values()])
        for axes in panels if narrow else panels[:1]:
            axes.set_ylabel("final accuracy")
        legend(figure, panels[1], panels[0].get_legend_handles_labels())
        title(figure, head)
        return svg(figure, "cost", head)


def fit_plot(variants: Variants, fits: Sequence[Fit], marks: Marks) -> str:
    """Gain over the cost of an edge and task, with the line of each family of variants."""
    head = "What sharing more is worth: gain over ln(cost), with its standard error"
    with drawing(3.4 if layout().is_narrow else max(4.0, 1.4 + 0.5 * len(fits))) as figure:
        axes = figure.subplots()
        for place, fit in enumerate(fits):
            names = [name for name in fit.variants if _is_placed(variants.get(name))]
            for name in names:
                _gain_point(axes, name, variants[name], marks[name])
            slope = number(fit.slope)
            slope += f" ± {number(fit.slope_error)}" if fit.slope_error is not None else ""
            label = f" {short(fit.name, LONGEST)}\n slope {slope}"
            costs = np.array([variants[name].cost for name in names], dtype=float)
            look: Style = {"linestyle": _DASHES[place % len(_DASHES)], "lw": 1.4, "zorder": 2}
            axes.plot(*_line(costs, fit), color=QUIET, label=label, **look)
        axes.axhline(0, color=QUIET, lw=0.8)
        named = [name for fit in fits for name in fit.variants if name in variants]
        log_scale(axes, [variants[name].cost for name in named])
        axes.set_xlabel("floats per edge and task (log scale)")
        axes.set_ylabel("gain over sharing nothing, percent")
        legend(figure, axes, axes.get_legend_handles_labels())
        title(figure, head)
        return svg(figure, "fit", head)


def _is_placed(variant: VariantResult | None) -> bool:
    """Whether it has a gain and a cost."""
    return bool(variant and variant.cost and math.isfinite(mean_of(variant.gain)))


def _gain_point(axes: Axes, name: str, variant: VariantResult, mark: Mark) -> None:
    assert variant.cost is not None
    gain, error = mean_of(variant.gain), error_of(variant.gain)
    if math.isfinite(error):
        axes.errorbar(variant.cost, gain, yerr=error, color=mark.colour, lw=1.8, zorder=3)
    look: Style = {"color": mark.colour, "label": f" {short(name, LONGEST)}"}
    axes.plot(variant.cost, gain, mark.point, linestyle="none", ms=7, mec="white", zorder=4, **look)


def _cost_point(axes: Axes, name: str, variant: VariantResult, unit: str, mark: Mark) -> None:
    accuracy, sent = mean_of(variant.accuracy), _sent(variant, unit)
    # The space: a legend leaves out what begins with an underscore.
    look: Style = {"color": mark.colour, "label": f" {short(name, LONGEST)}"}
    if not sent:
        dashes = (5, 3) if mark.line == "-" else (1.5, 1.5)
        axes.axhline(accuracy, linestyle=(0, dashes), lw=1.3, **look)
        return
    error = error_of(variant.accuracy)
    if math.isfinite(error):
        axes.errorbar(sent, accuracy, yerr=error, color=mark.colour, lw=2.2, zorder=3)
    axes.plot(sent, accuracy, mark.point, linestyle="none", ms=8, mec="white", zorder=4, **look)


def _sent(variant: VariantResult, unit: str) -> Number:
    return variant.floats if unit == "floats" else variant.bytes


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
