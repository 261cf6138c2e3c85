"""Long work says what it is and how far it has come; who shows that is set by the program's door.

    with task("examining banking77", len(problems)) as advance:
        for part in parts:
            ...
            advance(len(part))

Without anybody to show it, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Reporter(Protocol):
    """Who shows a person how long work goes."""

    def begin(self, what: str, total: int) -> int:
        """A task of `total` parts begins (0: their number is not known); returns its number."""
        ...

    def advance(self, number: int, parts: int) -> None: ...

    def end(self, number: int) -> None: ...


_reporter: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


@contextmanager
def shown_by(reporter: Reporter) -> Iterator[None]:
    """Work within is reported to `reporter`."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


@contextmanager
def task(what: str, total: int = 0) -> Iterator[Callable[[int], None]]:
    """A piece of work of `total` parts; call what it gives with the number of parts just done."""
    reporter = _reporter.get()
    if reporter is None:
        yield lambda parts: None
        return
    number = reporter.begin(what, total)
    try:
        yield lambda parts: reporter.advance(number, parts)
    finally:
        reporter.end(number)
