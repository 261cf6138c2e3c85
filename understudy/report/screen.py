"""Where the lines of a run and the progress of long work are shown: a terminal, or a plain log.

A terminal has bars that move. A log (a pipe, a file) has a plain line about the work under way
whenever nothing was printed for ten seconds, so short work leaves no line.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from understudy.progress import shown_by

SILENCE = 10.0  # seconds without a line after which a log says what is being done
_SHORT = 0.5  # seconds of work that gets no bar

Clock = Callable[[], float]


class Screen(Protocol):
    """A console with the progress of work on it. Work within `with screen:` is reported to it."""

    moves: bool  # whether what is shown can be redrawn

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def print(self, text: str) -> None:
        """A line that stays; rich's markup is read."""

    def warn(self, text: str) -> None:
        """A warning; `text` is plain."""

    def show(self, head: RenderableType, words: str) -> None:
        """How far the run is: above the bars; in a log, words before those of the work."""

    def is_silent(self) -> bool:
        """Whether nothing was printed for long."""


def screen_on(console: Console) -> Screen:
    return TerminalScreen(console) if console.is_terminal else LogScreen(console)


class TerminalScreen:
    """Bars that move under a head, and lines above both."""

    moves = True

    def __init__(self, console: Console) -> None:
        self.console = console
        self._head: RenderableType | None = None
        self._bars = _Bars(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._live = Live(
            get_renderable=self._content, console=console, refresh_per_second=8, transient=True
        )
        self._reported = ExitStack()

    def __enter__(self) -> Self:
        self._reported.enter_context(shown_by(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._reported.close()
        self._live.stop()

    def print(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def warn(self, text: str) -> None:
        self.print(_warning(text))

    def show(self, head: RenderableType, words: str) -> None:
        self._head = head
        self._live.start()

    def is_silent(self) -> bool:
        return False

    def begin(self, what: str, total: int) -> int:
        self._live.start()
        return self._bars.add_task(what, total=total or None)

    def advance(self, number: int, parts: int) -> None:
        self._bars.advance(TaskID(number), parts)

    def end(self, number: int) -> None:
        self._bars.remove_task(TaskID(number))

    def _content(self) -> RenderableType:
        return self._bars if self._head is None else Group(self._head, self._bars)


class _Bars(Progress):
    """Bars of work that has gone on for a while."""

    def get_renderables(self) -> list[RenderableType]:
        return [self.make_tasks_table([t for t in self.tasks if (t.elapsed or 0.0) >= _SHORT])]


@dataclass(slots=True)
class _Work:
    what: str
    total: int  # 0: not known
    begun: float
    done: int = 0


class LogScreen:
    """Plain lines."""

    moves = False

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self.console, self._clock = console, clock
        self._printed = clock()
        self._words = ""
        self._work: dict[int, _Work] = {}
        self._count = 0
        self._lock = threading.RLock()
        self._left = threading.Event()
        self._reported = ExitStack()

    def __enter__(self) -> Self:
        self._reported.enter_context(shown_by(self))
        if not self.console.quiet:
            threading.Thread(target=self._watch, name="progress", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._reported.close()

    def print(self, text: str) -> None:
        with self._lock:
            self.console.print(text, soft_wrap=True)
            self._printed = self._clock()

    def warn(self, text: str) -> None:
        self.print(_warning(text))

    def show(self, head: RenderableType, words: str) -> None:
        self._words = words

    def is_silent(self) -> bool:
        return self._clock() - self._printed >= SILENCE

    def begin(self, what: str, total: int) -> int:
        with self._lock:
            self._count += 1
            self._work[self._count] = _Work(what, total, self._clock())
            return self._count

    def advance(self, number: int, parts: int) -> None:
        with self._lock:
            self._work[number].done += parts

    def end(self, number: int) -> None:
        with self._lock:
            del self._work[number]

    def check(self) -> None:
        """Print what is being done, if nothing was printed for long."""
        with self._lock:
            if self._work and self.is_silent():
                line = _line(list(self._work.values()), self._clock())
                self.print(escape(f"{self._words}; {line}" if self._words else line))

    def _watch(self) -> None:
        while not self._left.wait(1.0):
            self.check()


class SilentScreen:
    """Nothing is shown; warnings are those of Python."""

    moves = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def print(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        warnings.warn(text, stacklevel=2)

    def show(self, head: RenderableType, words: str) -> None: ...

    def is_silent(self) -> bool:
        return False


class QuietScreen(SilentScreen):
    """Warnings are shown, and nothing else."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def warn(self, text: str) -> None:
        self.console.print(_warning(text), soft_wrap=True)


def _warning(text: str) -> str:
    return f"[yellow]warning:[/] {escape(text)}"


def _line(works: list[_Work], now: float) -> str:
    """'examining before training 1/5, strings 320/1024: 0:25 so far, about 1:40 left'."""
    whats = [f"{each.what} {each.done}/{each.total}" if each.total else each.what for each in works]
    so_far = now - works[0].begun
    left = next((_seconds_left(each, now) for each in works if each.total and each.done), None)
    end = "" if left is None else f", about {clock_time(left)} left"
    return f"{', '.join(whats)}: {clock_time(so_far)} so far{end}"


def _seconds_left(work: _Work, now: float) -> float:
    return (now - work.begun) / work.done * (work.total - work.done)


def clock_time(seconds: float) -> str:
    """1:05, or 1:01:40."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
