"""How a federation proceeds: bars in a terminal, plain log lines elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from understudy.federate.records import ClientResult, Line, Number
from understudy.report.parts.numbers import mean, mean_along, measured, number, size
from understudy.report.screen import Screen, clock_time

_ROOM = 12  # clients that get a line each
_BAR = 30  # letters of an accuracy of one


class FederateDisplay:
    """The round of a variant, each client's loss and accuracy, what was sent and the time left."""

    def __init__(self, screen: Screen, moments: int) -> None:
        """moments: of all variants together."""
        self.screen, self.moments = screen, moments
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._bar = self._progress.add_task("starting", total=moments, figures="")
        self._accuracy: Sequence[float] = ()
        self._loss: Sequence[float] = ()

    def __enter__(self) -> FederateDisplay:
        self.screen.__enter__()
        return self  # the bar appears with the first round: a refused run shows none

    def __exit__(self, *_: object) -> None:
        self.screen.__exit__()

    def moment(self, variant: str, done: int, line: Line, seconds_left: float) -> None:
        """A round that was served, or an examination."""
        if line.act != "round":
            self._accuracy = [_mean_of_seen(each, line) for each in _by_client(line.accuracy)]
        else:
            self._loss = [_mean_loss(each) for each in _by_client(line.terms)]
        figures = self._figures(line, seconds_left)
        if not self.screen.moves:
            self.screen.print(escape(f"{variant}  {figures}"))
            return
        self._progress.update(
            self._bar, completed=done, description=escape(variant), figures=escape(figures)
        )
        self.screen.show(Group(self._progress, *self._lines()), "")

    def finished(self, variant: str, clients: Sequence[Sequence[ClientResult]]) -> None:
        known = [client.accuracy for seed in clients for client in seed]
        forgotten = [client.forgetting for seed in clients for client in seed]
        self.screen.print(
            escape(
                f"{variant}: accuracy {number(mean(known), 3)}, forgetting "
                f"{number(mean(forgotten), 3)}"
            )
        )

    def warning(self, text: str) -> None:
        self.screen.warn(text)

    def _figures(self, line: Line, seconds_left: float) -> str:
        sent = size(mean([float(each) for each in line.bytes]))
        head = "before training" if line.act == "begin" else f"task {line.task + 1}"
        if line.act == "round":
            head += f", round {line.round + 1}  loss {_each(self._loss)}"
            refused = sum(line.refused)
            head += f"  refused {refused}" if refused else ""
        else:
            head += f"  accuracy {_each(self._accuracy)}"
        left = number(None) if math.isnan(seconds_left) else clock_time(seconds_left)
        return f"{head}  sent {sent}  left {left}"

    def _lines(self) -> list[Text]:
        """A line for each client; of many clients none."""
        count = max(len(self._accuracy), len(self._loss))
        if count > _ROOM:
            return []
        found = []
        for place in range(count):
            accuracy = self._accuracy[place] if self._accuracy else math.nan
            loss = self._loss[place] if self._loss else math.nan
            bar = "━" * round(_BAR * accuracy) if math.isfinite(accuracy) else ""
            words = f"  client {place + 1:2}  loss {number(loss):>6}  {number(accuracy)}  "
            found.append(Text.assemble(words, (bar, "green")))
        return found


def _by_client(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """What is given by seed and client, by client and seed."""
    return [list(each) for each in zip(*rows, strict=True)]


def _mean_of_seen(seeds: Sequence[object], line: Line) -> float:
    """A client's accuracy on the tasks so far (before the first: on all), mean over seeds."""
    table = measured(seeds)
    seen = table if line.act == "begin" else table[:, : line.task + 1]
    return float(mean_along(seen, (0, 1)))


def _mean_loss(seeds: Sequence[object]) -> float:
    """The sum of a client's terms, mean over the seeds in which it took part."""
    totals: list[Number] = [
        sum(value if value is not None else math.nan for value in terms.values())
        for terms in seeds
        if isinstance(terms, Mapping) and terms
    ]
    return mean(totals)


def _each(values: Sequence[float]) -> str:
    """Every client's, or of many the mean and the ends."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return number(None)
    if len(values) <= _ROOM:
        return " ".join(number(value) for value in values)
    return f"{number(mean(known))} ({number(min(known))} to {number(max(known))})"
