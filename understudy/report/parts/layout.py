"""Every plot is drawn twice, for a wide page and for a phone: letters keep their size in both."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ParamSpec

P = ParamSpec("P")


@dataclass(frozen=True)
class Layout:
    """name: begins the ids of what is drawn; width: of the page, in inches."""

    name: str
    width: float

    @property
    def is_narrow(self) -> bool:
        return self is NARROW

    @property
    def title_letters(self) -> int:
        """Of a line of a figure's title."""
        return int(self.width / 0.106)


WIDE, NARROW = Layout("", 10.0), Layout("narrow-", 4.2)
_current = ContextVar("layout", default=WIDE)


def layout() -> Layout:
    """What is drawn for now."""
    return _current.get()


def for_both(plot: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> str:
    """A plot as it is on a wide page and on a narrow one; page.css shows the one that fits."""
    return "".join(
        f'<div class="{shown}">{_drawn(each, plot, *args, **kwargs)}</div>'
        for shown, each in (("wide", WIDE), ("narrow", NARROW))
    )


def _drawn(chosen: Layout, plot: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> str:
    before = _current.set(chosen)
    try:
        return plot(*args, **kwargs)
    finally:
        _current.reset(before)
