"""The plots of a run, each a function from its figures to one SVG element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from understudy.metrics import apgr, random_offloading
from understudy.metrics.measured import FloatArray
from understudy.offload.records import Cell, MatrixRow, PhaseSummary
from understudy.offload.steps import StepMetrics
from understudy.report.parts.axes import (
    label_ends,
    legend,
    panel_title,
    panels_height,
    short,
    small_multiples,
    smoothed,
    title,
    whole_numbers,
)
from understudy.report.parts.colours import (
    ASKED,
    INK,
    LOCAL,
    PRICE,
    QUIET,
    SHADE,
    SYSTEM,
    colour_of,
)
from understudy.report.parts.layout import layout
from understudy.report.parts.numbers import last, mean, measured, number, span
from understudy.report.parts.svg import Style, drawing, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHARES = np.linspace(0.0, 1.0, 11)  # of the questions, at which a curve has its points


def budget_plot(lines: Sequence[StepMetrics], phases: Sequence[PhaseSummary]) -> str:
    """Ask rate against its budget step by step, and below it what steers it."""
    shift = column(lines, "shift")
    finite = shift[np.isfinite(shift)]
    below = [("price of asking,\nin reward", column(lines, "price"), PRICE)]
    if finite.size and finite.any():
        below.append(("logit shift", shift, QUIET))
    heights = [3.2] + [1.1] * len(below)
    asked = span([phase.training["mean"] for phase in phases], "{:.0%}")
    allowed = span([phase.budget for phase in phases], "{:.0%}")
    head = f"In training, {asked} of a phase's responses asked; the budget is {allowed}"
    with drawing(sum(heights) + 0.8) as figure:
        rows = figure.subplots(len(heights), sharex=True, height_ratios=heights, squeeze=False)
        above, *others = rows[:, 0]
        _ask_rates(above, lines, phases)
        for axes, (name, values, colour) in zip(others, below, strict=True):
            axes.plot(column(lines, "step"), values, color=colour, linewidth=1.6)
            axes.set_ylabel(name)
            axes.margins(y=0.15)
            _shade_phases(axes, lines)
        rows[-1, 0].set_xlabel("training step")
        whole_numbers(rows[-1, 0], 5 if layout().is_narrow else 10)
        figure.align_ylabels()
        title(figure, head)
        return svg(figure, "budget", head)


def _ask_rates(axes: Axes, lines: Sequence[StepMetrics], phases: Sequence[PhaseSummary]) -> None:
    steps, window = column(lines, "step"), _window(lines)
    rate, budget = column(lines, "ask_rate"), column(lines, "budget")
    smooth = smoothed(rate, column(lines, "phase"), window)
    served = measured([phase.evaluation.ask_rate for phase in phases])
    ends = [_steps_of(lines, phase.phase)[-1] for phase in phases]
    axes.plot(steps, rate, ".", color=ASKED, alpha=0.45, markersize=5, markeredgewidth=0)
    axes.plot(steps, smooth, color=ASKED)
    axes.step(steps, budget, where="mid", color=INK, linewidth=1.4, linestyle=(0, (5, 2)))
    axes.plot(ends, served, "D", color=SYSTEM, markersize=5.5, zorder=4, markeredgecolor="white")
    axes.set_ylabel("share that asks")
    top = np.nanmax([*rate, *budget, *served, 0.1])
    axes.set_ylim(-0.03 * top, 1.08 * top)
    _frame(axes, lines)
    _name_phases(axes, lines)
    ends_of_lines = [
        (last(smooth), f"mean of {window} steps", ASKED),
        (float(budget[-1]), "budget", INK),
        (float(served[-1]), "as served", SYSTEM),
    ]
    label_ends(axes, ends_of_lines, height=2.0)


def training_plot(lines: Sequence[StepMetrics]) -> str:
    """Accuracy of the responses drawn in training."""
    system, local = column(lines, "system_accuracy"), column(lines, "local_accuracy")
    local[column(lines, "ask_rate") == 1.0] = np.nan  # no local answer
    window, phase, steps = _window(lines), column(lines, "phase"), column(lines, "step")
    gain = mean(system - local)
    head = "In training, responses are drawn at random and asking is live"
    if math.isfinite(gain):
        head = "Accuracy in training: system "
        head += f"{number(gain, sign='+')} against the responses that did not ask"
    with drawing(3.9) as figure:
        axes = figure.subplots()
        ends = []
        for name, values, colour in (("system", system, SYSTEM), ("local", local, LOCAL)):
            smooth = smoothed(values, phase, window)
            axes.plot(steps, values, ".", color=colour, alpha=0.35, markersize=5, mew=0)
            axes.plot(steps, smooth, color=colour)
            ends.append((last(smooth), name, colour))
        axes.set_ylim(0, 1.02)
        axes.set_ylabel(f"accuracy, mean of {window} steps")
        axes.set_xlabel("training step")
        _frame(axes, lines)
        _name_phases(axes, lines)
        whole_numbers(axes, 5 if layout().is_narrow else 10)
        label_ends(axes, ends, height=2.6)
        title(figure, head)
        return svg(figure, "training", head)


def matrix_plot(matrix: Sequence[MatrixRow], names: Sequence[str]) -> str:
    """Two heat maps: local and system accuracy on every task, before and after each phase."""
    narrow = layout().is_narrow
    across = 2.6 if narrow else max(3.5, min(4.3, 0.75 * len(names)))
    rows = ["before", *(f"after {n} {short(name)}" for n, name in enumerate(names, start=1))]
    columns = [f"{n} {short(name)}" for n, name in enumerate(names, start=1)]
    high = 0.36 * len(rows) + 1.5
    with drawing(2 * high if narrow else high, 2 * across + 1.6) as figure:
        panels = figure.subplots(*((2, 1) if narrow else (1, 2)), sharey=True)
        for axes, which in zip(panels, ("local", "system"), strict=True):
            values = accuracies(matrix, which)
            _heat(axes, values, columns, across / len(names))
            before, after = (number(mean(values[row])) for row in (0, -1))
            head = f"{which.capitalize()}: {before} before,{chr(10) if narrow else ' '}"
            axes.set_title(f"{head}{after} at the end", fontweight="bold")
        panels[0].set_yticks(np.arange(len(rows)) + 0.5, rows)
        return svg(figure, "matrix", "accuracy on every task after every phase")


def _heat(axes: Axes, values: FloatArray, columns: list[str], cell_width: float) -> None:
    import matplotlib
    from matplotlib.patches import Rectangle

    colours = matplotlib.colormaps["Blues"]
    size = min(10.0, 24 * cell_width)
    for (row, task), value in np.ndenumerate(values):
        # The palest part of the map: dark figures stay easy to read on all of it.
        fill = colours(0.02 + 0.58 * float(np.clip(np.nan_to_num(value), 0, 1)))
        axes.add_patch(Rectangle((task, row), 1, 1, facecolor=fill, edgecolor="white", lw=1.2))
        axes.text(task + 0.5, row + 0.52, number(float(value)), ha="center", va="center", size=size)
    for task in range(values.shape[1]):
        axes.add_patch(
            Rectangle((task, task + 1), 1, 1, fill=False, edgecolor="#E69F00", lw=2.2, zorder=3)
        )
    axes.set_xlim(-0.03, values.shape[1] + 0.03)
    axes.set_ylim(values.shape[0] + 0.05, -0.03)
    slanted = cell_width < 0.085 * max(len(name) for name in columns)
    turn: Style = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, **turn)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def kept_plot(matrix: Sequence[MatrixRow], names: Sequence[str]) -> str:
    """A panel per task: its accuracy after each phase, alone and with help."""
    panels = _tasks(matrix, names)
    local, system = accuracies(matrix, "local"), accuracies(matrix, "system")
    turns = np.arange(len(matrix))

    def draw(axes: Axes, task: int, phases: list[int]) -> None:
        for phase in phases:
            axes.axvspan(phase - 1, phase, color="#fbe7c6", linewidth=0)
        for values, colour in ((system[:, task], SYSTEM), (local[:, task], LOCAL)):
            axes.plot(turns, values, "o-", color=colour, markersize=3.5, linewidth=1.8)
        panel_title(axes, _phases_named(names[task], phases))
        axes.set_xticks(turns[:: max(1, math.ceil(len(turns) / 6))])
        axes.set_ylim(0, 1.03)

    head = "Accuracy of each task alone (orange) and with help (blue); shaded where it is trained"
    with drawing(panels_height(len(panels), 5)) as figure:
        small_multiples(figure, panels, draw, head, ("after phase", "accuracy"))
        return svg(figure, "kept", head)


def cost_plot(matrix: Sequence[MatrixRow], names: Sequence[str]) -> str:
    """The mean deferral curve at the end over every task's own, with their APGR."""
    cells = matrix[-1].tasks
    curves = np.array([curve_of(cell) for cell in cells])
    middle = np.array([mean(points) for points in curves.T])
    areas = [area_recovered(cell) for cell in cells]
    head = f"Choosing what to ask: APGR {number(mean(areas))} on average (at random: 0.50)"
    panels = _tasks(matrix, names)
    with drawing(3.6 if layout().is_narrow else max(4.2, 1.8 + 0.22 * len(panels))) as figure:
        axes = figure.subplots()
        chance = random_offloading(middle[0], middle[-1], _SHARES)
        axes.plot(_SHARES, chance, "--", color=QUIET, linewidth=1.4)
        for turn, (task, phases) in enumerate(panels):
            style: Style = {"color": colour_of(turn), "alpha": 0.9}
            label = f"{_phases_named(names[task], phases)}  {number(areas[task])}"
            axes.plot(_SHARES, curves[task], linewidth=1.2, label=label, **style)
            axes.plot(*_served(cells[task])[:, None], "D", ms=5, mec="white", mew=0.6, **style)
        label = f"mean of all  {number(mean(areas))}"
        axes.plot(_SHARES, middle, color=INK, linewidth=3, label=label)
        overall = np.mean([_served(cell) for cell in cells], axis=0)[:, None]
        axes.plot(*overall, "D", color=INK, ms=9, mec="white", zorder=5)
        axes.plot([], [], "--", color=QUIET, label="mean, asked at random  0.50")
        axes.plot([], [], "D", color=QUIET, ms=5, label="as served (mean: large)")
        _share_axis(axes)
        axes.set_xlabel("share of the questions that is asked")
        axes.set_ylabel("accuracy of the system")
        legend(figure, axes, axes.get_legend_handles_labels(), "Curve and its APGR")
        title(figure, head)
        return svg(figure, "cost", head)


def task_cost_plot(matrix: Sequence[MatrixRow], names: Sequence[str]) -> str:
    """A panel per task: its deferral curve over the line of random choice, and as served."""
    cells, panels = matrix[-1].tasks, _tasks(matrix, names)

    def draw(axes: Axes, task: int, phases: list[int]) -> None:
        cell = cells[task]
        curve = curve_of(cell)
        chance = random_offloading(curve[0], curve[-1], _SHARES)
        axes.fill_between(_SHARES, chance, curve, color=SYSTEM, alpha=0.12, linewidth=0)
        axes.plot(_SHARES, chance, "--", color=QUIET, linewidth=1.1)
        axes.plot(_SHARES, curve, color=SYSTEM, linewidth=1.8)
        axes.plot(*_served(cell)[:, None], "D", color=INK, ms=6, mec="white", zorder=4)
        panel_title(axes, _phases_named(names[task], phases))
        found = f"APGR {number(area_recovered(cell))}"
        axes.text(0.98, 0.04, found, transform=axes.transAxes, ha="right", color=QUIET, size=9)
        _share_axis(axes)
        axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))

    head = "Above the dashed line of asking at random, asking goes where it helps; ◆ as served"
    with drawing(panels_height(len(panels), 5)) as figure:
        small_multiples(figure, panels, draw, head, ("share asked", "accuracy"))
        return svg(figure, "taskcost", head)


def area_recovered(cell: Cell) -> float:
    """APGR of a cell's curve; NaN where the cloud is no better or worse than the local model."""
    curve = curve_of(cell)
    if not np.isfinite(curve[[0, -1]]).all():
        return math.nan
    return apgr(_SHARES, curve, float(curve[0]), float(curve[-1]))


def has_curve(matrix: Sequence[MatrixRow]) -> bool:
    """Whether the cloud answered for any task: without its answers there is no curve."""
    return any(math.isfinite(curve_of(cell)[-1]) for cell in matrix[-1].tasks)


def curve_of(cell: Cell) -> FloatArray:
    return measured(cell.curve)


def column(lines: Sequence[StepMetrics], name: str) -> FloatArray:
    return measured([getattr(line, name) for line in lines])


def accuracies(matrix: Sequence[MatrixRow], which: str) -> FloatArray:
    """(1 + phases, tasks): the row before training first."""
    return measured([[getattr(cell, which) for cell in row.tasks] for row in matrix])


def _served(cell: Cell) -> FloatArray:
    """The share asked and the accuracy at the point at which the recipe serves."""
    return measured([cell.ask_rate, cell.system])


def _steps_of(lines: Sequence[StepMetrics], phase: int) -> list[int]:
    return [line.step for line in lines if line.phase == phase]


def _window(lines: Sequence[StepMetrics]) -> int:
    """How many steps are smoothed over: an odd number, more in a longer run."""
    return 2 * min(12, max(2, len(lines) // 80)) + 1


def _frame(axes: Axes, lines: Sequence[StepMetrics]) -> None:
    first, last = lines[0].step, lines[-1].step
    axes.set_xlim(first - 0.5, last + 0.5)
    _shade_phases(axes, lines)


def _shade_phases(axes: Axes, lines: Sequence[StepMetrics]) -> None:
    for phase in sorted({line.phase for line in lines}):
        steps = _steps_of(lines, phase)
        if phase % 2:
            axes.axvspan(steps[0] - 0.5, steps[-1] + 0.5, color=SHADE, linewidth=0, zorder=0)
        if steps[0] > lines[0].step:
            axes.axvline(steps[0] - 0.5, color="#aab2b9", linewidth=0.9, zorder=0.5)


def _name_phases(axes: Axes, lines: Sequence[StepMetrics]) -> None:
    """The task of every phase above its stretch; slanted where one has no room."""
    names = {line.phase: f"{line.phase} {short(line.task)}" for line in lines}
    stretches = {phase: _steps_of(lines, phase) for phase in names}
    inch = 0.78 * layout().width / len(lines)
    tight = any(0.088 * len(names[n]) > inch * len(steps) for n, steps in stretches.items())
    middles = [(steps[0] + steps[-1]) / 2 for steps in stretches.values()]
    turn: Style = {"rotation": 30, "ha": "left", "rotation_mode": "anchor"} if tight else {}
    top = axes.secondary_xaxis("top")
    top.set_xticks(middles, list(names.values()), **turn)
    top.tick_params(length=0, labelcolor=INK, pad=3)
    top.spines[:].set_visible(False)


def _share_axis(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.03)


def _tasks(matrix: Sequence[MatrixRow], names: Sequence[str]) -> list[tuple[int, list[int]]]:
    """(column, the phases that train it): a task that comes back is shown once."""
    found: dict[str, tuple[int, list[int]]] = {}
    for task, name in enumerate(names):
        key = repr((name, [row.tasks[task] for row in matrix]))
        found.setdefault(key, (task, []))[1].append(task + 1)
    return list(found.values())


def _phases_named(name: str, phases: list[int]) -> str:
    return f"{', '.join(map(str, phases))}  {short(name, 15)}"
