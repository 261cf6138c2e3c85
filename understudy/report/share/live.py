"""How a run of agents proceeds: bars in a terminal, plain log lines elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from understudy.report.parts.numbers import amount, mean, measured, number
from understudy.report.screen import Screen, clock_time

_EVERY = 10  # rounds between plain log lines
_ROOM = 12  # agents that get a line each
_BAR = 30  # letters of an accuracy of one


class ShareDisplay:
    """The round of a variant, each agent's accuracy, what was sent and the time left."""

    def __init__(self, screen: Screen, rounds: int) -> None:
        """rounds: of one variant, or of all together; `round` counts them alike."""
        self.screen, self.rounds = screen, rounds
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._bar = self._progress.add_task("starting", total=rounds, figures="")
        self._logged = 0  # the last round that has a plain line

    def __enter__(self) -> ShareDisplay:
        self.screen.__enter__()
        return self  # the bar appears with the first round: a refused run shows none

    def __exit__(self, *_: object) -> None:
        self.screen.__exit__()

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
        if not self.screen.moves:
            if self._is_due(number):
                self._logged = number
                line = f"{variant}  round {number}/{self.rounds}  {figures}"
                self.screen.print(escape(line))
            return
        self._progress.update(
            self._bar, completed=number, description=escape(variant), figures=escape(figures)
        )
        self.screen.show(Group(self._progress, *agent_lines(accuracies)), "")

    def _is_due(self, number: int) -> bool:
        """Whether the last line is long ago: not every round is passed to `round`."""
        if number < self._logged:  # another variant's first rounds
            self._logged = 0
        last = number == self.rounds != self._logged
        return last or number >= self._logged + _EVERY or self.screen.is_silent()

    def finished(self, variant: str, accuracy: float | None) -> None:
        self.screen.print(f"{escape(variant)}: accuracy {number(accuracy, 3)}")

    def warning(self, text: str) -> None:
        self.screen.warn(text)


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
    left = number(None) if math.isnan(seconds_left) else clock_time(seconds_left)
    return (
        f"{tick_words}  accuracy {_spread(accuracies)}  sent {amount(floats)} floats  left {left}"
    )


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
