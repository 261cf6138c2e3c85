"""A table of figures, once for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.report.parts.numbers import count, dollars, number, size

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True)
class Cell:
    """A figure, or the name of a row. note: in smaller letters; best: set in bold."""

    text: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """The first cell of a row names it. total: a last row over all others."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    total: Sequence[str | Cell] = ()

    def for_terminal(self, title: str) -> rich.table.Table:
        from rich.table import Table

        table = Table(title=title)
        rows = [[_text(first), *map(_with_note, rest)] for first, *rest in self.rows]
        total = [_with_note(cell) for cell in self.total]
        table.add_column(_plain(self.heads[0]), overflow="fold")
        for place, head in enumerate(self.heads[1:], start=1):
            longest = max((len(row[place]) for row in rows), default=0)
            table.add_column(_plain(head), justify="right", min_width=longest)
        for row in rows:
            table.add_row(*map(_plain, row))
        if total:
            table.add_section()
            table.add_row(*map(_plain, total))
        return table


def side_by_side(records: Sequence[Mapping[str, Any]]) -> rich.table.Table:
    """A column per record: their names are long, their figures are many."""
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column()
    for _ in records:
        table.add_column(justify="right", overflow="fold")
    for name in dict.fromkeys(name for record in records for name in record):
        shown = (shown_figure(name, record.get(name)) for record in records)
        table.add_row(_plain(name), *map(_plain, shown))
    return table


def _text(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _with_note(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else f"{cell.text} {cell.note}".rstrip()


def _plain(text: str) -> str:
    """Brackets in a name are no styles of rich's."""
    from rich.markup import escape

    return escape(text)


def shown_figure(name: str, value: Any) -> str:
    """A figure of a run's headline, by its name."""
    if value is not None and name in _WRITTEN:
        return _WRITTEN[name](value)
    if value is None or isinstance(value, float):
        return number(value, 3)
    return str(value)


_WRITTEN = {"dollars": dollars, "bytes": size} | dict.fromkeys(("calls", "tokens", "floats"), count)
