"""What of a federation is written as it goes, and shown."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from understudy.actors.crew import Crew, Moment
from understudy.federate.entries import ClientEntry, ServerEntry
from understudy.federate.records import ClientResult, Line, Number
from understudy.federate.settings import FederateConfig
from understudy.federate.turn import SERVER
from understudy.link.carrier import Carrier
from understudy.plain import to_plain
from understudy.run import RunDirectory
from understudy.trackers.tracking import Tracking


class Display(Protocol):
    """Shows a person how a run proceeds."""

    def moment(self, variant: str, done: int, line: Line, seconds_left: float) -> None:
        """done: moments of all variants so far."""
        ...

    def warning(self, text: str) -> None: ...

    def finished(self, variant: str, clients: Sequence[Sequence[ClientResult]]) -> None:
        """clients: of every seed."""
        ...


class Recorder:
    """Writes a variant's log, and passes its lines to the display."""

    def __init__(
        self,
        run: RunDirectory,
        name: str,
        config: FederateConfig,
        crew: Crew,
        carriers: Sequence[Carrier],
        display: Display,
        tracking: Tracking,
    ) -> None:
        self.run, self.name, self.config = run, name, config
        self.crew, self.carriers, self.display = crew, carriers, display
        self.tracking = tracking
        past = (line for line in run.metric_lines() if line["variant"] == name)
        self.told = tracking.past(past)
        self.lap = time.monotonic()
        self._warned: set[str] = set()

    def log(self, lines: int, moment: Moment, when: tuple[int, float]) -> int:
        """The line of a moment, if it is one at which the server served or clients were examined.
        lines: in the log so far; returns how many there are then."""
        act = _act(moment)
        if act == "train":
            return lines
        logs = self.crew.logs()
        line = self._line(lines + 1, act, logs)
        lap, self.lap = self.lap, time.monotonic()
        written = to_plain(line)
        with self.run.writing():
            self.run.append(written, {"step": line.step, "step_time": self.lap - lap})
        self.told += 1
        self.tracking.log(written, self.told)
        self._warn(line, logs)
        self.display.moment(self.name, when[0], line, when[1])
        return lines + 1

    def _line(self, step: int, act: str, logs: Sequence[Sequence[Sequence[object]]]) -> Line:
        clients = [[_last(log, act) for log in row[1:]] for row in logs]
        found = [entry for row in clients for entry in row if entry is not None]
        served = [row[SERVER][-1] if row[SERVER] else None for row in logs]
        entries = [each for each in served if isinstance(each, ServerEntry)]
        totals = [carrier.totals() for carrier in self.carriers]
        return Line(
            step=step,
            variant=self.name,
            act="round" if act == "serve" else act,
            task=entries[0].task if act == "serve" else found[0].task,
            round=entries[0].round if act == "serve" else found[0].round,
            terms=[[_terms(entry, entries, act) for entry in row] for row in clients],
            accuracy=[
                [list(entry.accuracy) if entry and act != "serve" else [] for entry in row]
                for row in clients
            ],
            refused=[len(each.refused) if act == "serve" else 0 for each in entries]
            or [0] * len(logs),
            floats=[sum(total.floats.values()) for total in totals],
            bytes=[sum(total.bytes.values()) for total in totals],
        )

    def _warn(self, line: Line, logs: Sequence[Sequence[Sequence[object]]]) -> None:
        """Say aloud, once each, what the server refuses and what is no number."""
        if line.act != "round":
            return
        for row in logs:
            entry = row[SERVER][-1]
            assert isinstance(entry, ServerEntry)
            for each in entry.refused:
                self._once(
                    f"{self.name}: the server refused {each.kind} of client {each.client}: "
                    f"{each.reason}"
                )
        for seed in line.terms:
            for number, terms in enumerate(seed, start=1):
                for name, value in terms.items():
                    if value is None or not math.isfinite(value):
                        self._once(f"{self.name}: client {number}: the loss's {name} is no number")

    def _once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.display.warning(text)


def _act(moment: Moment) -> str:
    for row in moment:
        for turn in row:
            if turn is not None:
                return str(turn.act)
    raise AssertionError("a moment at which nobody does anything")


def _last(log: Sequence[object], act: str) -> ClientEntry | None:
    """A client's last entry of what this line is about."""
    wanted = "train" if act == "serve" else act
    for entry in reversed(log):
        if isinstance(entry, ClientEntry) and entry.act == wanted:
            return entry
    return None


def _terms(
    entry: ClientEntry | None, served: Sequence[ServerEntry], act: str
) -> Mapping[str, Number]:
    """Of a client that took part in this round."""
    if entry is None or act != "serve" or entry.round != served[0].round:
        return {}
    return entry.terms
