"""How a run goes, while it goes: a live line in a terminal, plain log lines elsewhere."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_EVERY = 10  # steps between plain log lines


class LiveDisplay:
    """Progress of a run: phase, accuracies, ask rate against its budget, price, time left."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console, self.steps = console, steps
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._shown = 0
        self._bar = self._progress.add_task("starting", total=steps, figures="")

    def __enter__(self) -> LiveDisplay:
        return self  # the bar appears with the first examination: a refused run shows none

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, metrics: dict[str, Any], seconds_left: float) -> None:
        self._progress.start()
        if not self._shown and metrics["step"] > 1:
            self.console.print(f"continuing after step {metrics['step'] - 1} of {self.steps}")
        self._shown += 1
        name, figures = _described(metrics, seconds_left)
        self._progress.update(
            self._bar, completed=metrics["step"], description=name, figures=figures
        )
        last = metrics["step"] == self.steps
        if not self.console.is_terminal and (metrics["step"] % _EVERY == 0 or last):
            self.console.print(
                f"step {metrics['step']}/{self.steps}  {name}  {figures}", soft_wrap=True
            )

    def evaluation(self, row: dict[str, Any]) -> None:
        self._progress.start()
        cells = row["tasks"]
        when = f"after phase {row['after_phase']}" if row["after_phase"] else "before training"
        shown = "  ".join(f"{cell['local']:.2f}/{cell['system']:.2f}" for cell in cells)
        self.console.print(f"{when}: local/system accuracy per task:  {shown}", soft_wrap=True)

    def warning(self, text: str) -> None:
        self.console.print(f"[yellow]warning:[/] {text}", soft_wrap=True)


def _described(metrics: dict[str, Any], seconds_left: float) -> tuple[str, str]:
    minutes, seconds = divmod(round(seconds_left), 60)
    right = metrics["local_accuracy"]
    local = "-" if right is None else f"{right:.2f}"
    figures = (
        f"local {local}  system {metrics['system_accuracy']:.2f}  "
        f"asks {metrics['cloud/ask_rate']:.2f} of {metrics['cloud/budget']:.2f}  "
        f"price {metrics['cloud/price']:.2f}  left {minutes}:{seconds:02}"
    )
    return f"phase {metrics['phase']} {metrics['task']}", figures
