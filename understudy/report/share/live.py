"""How a run of agents goes, while it goes: live lines in a terminal, rare log lines elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from understudy.report.parts.numbers import amount, mean, measured, number

_EVERY = 10  # rounds between plain log lines
_ROOM = 12  # agents that get a line each
_BAR = 30  # letters of an accuracy of one


class ShareDisplay:
    """Progress of the variants of a run: the round, each agent's accuracy, what was sent."""

    def __init__(self, console: Console, rounds: int) -> None:
        """rounds: of one variant, or of all together; `round` counts them alike."""
        self.console, self.rounds = console, rounds
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
        )
        self._bar = self._progress.add_task("starting", total=rounds, figures="")
        self._logged = 0  # the last round of which a plain line tells
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> ShareDisplay:
        return self  # the bar appears with the first round: a refused run shows none

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def round(
        self,
        variant: str,
        number: int,
        tick_words: str,
        accuracies: Sequence[float | None],
        floats: float,
        seconds_left: float,
    ) -> None:
        """number: the round, counted from 1. accuracies: an agent's each, mean over seeds."""
        figures = _figures(tick_words, accuracies, floats, seconds_left)
        if not self.console.is_terminal:
            if self._is_due(number):
                self._logged = number
                line = f"{variant}  round {number}/{self.rounds}  {figures}"
                self.console.print(escape(line), soft_wrap=True)
            return
        self._progress.update(
            self._bar, completed=number, description=escape(variant), figures=escape(figures)
        )
        self._live.start()
        self._live.update(Group(self._progress, *agent_lines(accuracies)))

    def _is_due(self, number: int) -> bool:
        """Whether a log has been silent for long: not every round comes here."""
        if number < self._logged:  # another variant's first rounds
            self._logged = 0
        last = number == self.rounds != self._logged
        return last or number >= self._logged + _EVERY

    def finished(self, variant: str, accuracy: float | None) -> None:
        self.console.print(f"{escape(variant)}: accuracy {number(accuracy, 3)}", soft_wrap=True)

    def warning(self, text: str) -> None:
        self.console.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)


def agent_lines(accuracies: Sequence[float | None]) -> list[Text]:
    """A line per agent with its accuracy as a bar; of many agents one line in all."""
    if len(accuracies) > _ROOM:
        return [Text(f"  {len(accuracies)} agents: {_spread(accuracies)}")]
    return [
        Text.assemble(
            f"  agent {agent:2}  {number(accuracy)}  ", ("━" * _length(accuracy), "green")
        )
        for agent, accuracy in enumerate(accuracies)
    ]


def _figures(
    tick_words: str, accuracies: Sequence[float | None], floats: float, seconds_left: float
) -> str:
    return (
        f"{tick_words}  accuracy {_spread(accuracies)}  sent {amount(floats)} floats  "
        f"left {_clock(seconds_left)}"
    )


def _clock(seconds: float) -> str:
    if math.isnan(seconds):
        return number(None)
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _spread(accuracies: Sequence[float | None]) -> str:
    """'0.93 (0.88 to 0.96)': the mean, the worst agent and the best."""
    known = measured(accuracies)
    known = known[known == known]
    if not known.size:
        return number(None)
    ends = f"{number(float(known.min()))} to {number(float(known.max()))}"
    return f"{number(mean(known))} ({ends})"


def _length(accuracy: float | None) -> int:
    known = measured([accuracy])
    return round(_BAR * float(known[0])) if known[0] == known[0] else 0
