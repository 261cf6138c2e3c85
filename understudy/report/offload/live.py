"""How a run proceeds: a bar in a terminal, plain log lines elsewhere."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from understudy.offload.records import Cell, MatrixRow
from understudy.offload.steps import StepMetrics
from understudy.report.parts.numbers import dollars
from understudy.report.screen import Screen, clock_time

_EVERY = 10  # steps between plain log lines


class LiveDisplay:
    """Phase, accuracies, ask rate against its budget, price of asking and time left."""

    def __init__(self, screen: Screen, steps: int) -> None:
        self.screen, self.steps = screen, steps
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._bar = self._progress.add_task("starting", total=steps, figures="")
        self._has_steps = False

    def __enter__(self) -> LiveDisplay:
        self.screen.__enter__()
        return self  # the bar appears with the first examination: a refused run shows none

    def __exit__(self, *_: object) -> None:
        self.screen.__exit__()

    def step(self, metrics: StepMetrics, seconds_left: float) -> None:
        step = metrics.step
        left = clock_time(seconds_left)
        self.screen.show(self._progress, f"step {step}/{self.steps} done, about {left} left")
        if not self._has_steps and step > 1:
            self.screen.print(f"continuing after step {step - 1} of {self.steps}")
        self._has_steps = True
        name, figures = _described(metrics, seconds_left)
        self._progress.update(self._bar, completed=step, description=name, figures=figures)
        is_due = step % _EVERY == 0 or step == self.steps or self.screen.is_silent()
        if is_due and not self.screen.moves:
            self.screen.print(f"step {step}/{self.steps}  {name}  {figures}")

    def evaluation(self, row: MatrixRow) -> None:
        when = f"after phase {row.after_phase}" if row.after_phase else "before training"
        self.screen.show(self._progress, f"examined {when}")
        shown = "  ".join(map(_accuracies, row.tasks))
        self.screen.print(f"{when}: local/system accuracy per task:  {shown}")

    def note(self, text: str) -> None:
        self.screen.print(text)

    def warning(self, text: str) -> None:
        self.screen.warn(text)


def _accuracies(cell: Cell) -> str:
    shown = f"{cell.local:.2f}/{cell.system:.2f}"
    if cell.macro_f1 is None or cell.constant is None:
        return shown
    return f"{shown} (macro-F1 {cell.macro_f1:.2f}; one label always: {cell.constant:.2f})"


def _described(metrics: StepMetrics, seconds_left: float) -> tuple[str, str]:
    right = metrics.local_accuracy
    local = "-" if right is None else f"{right:.2f}"
    spent = f"spent {dollars(metrics.dollars)}  " if metrics.dollars else ""
    figures = (
        f"local {local}  system {metrics.system_accuracy:.2f}  "
        f"asks {metrics.ask_rate:.2f} of {metrics.budget:.2f}  "
        f"price of asking {metrics.price:.2f} in reward  {spent}"
        f"left {clock_time(seconds_left)}"
    )
    return f"phase {metrics.phase} {metrics.task}", figures
