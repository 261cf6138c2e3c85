"""Tables in a narrow window: columns that do not fit go below, and no figure is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Column, Table

_BESIDE = 3  # characters of a column that are not its content: two blanks and a line
_NAME = 16  # characters of a line of a name, which may go on in the next one
_FIGURE = re.compile(r"[-+−±–$]?\d|–$")


def parts_that_fit(table: Table, width: int) -> list[Table]:
    """The table in a window of so many characters: itself, or its columns in several tables, each
    behind the first column, which names the rows."""
    if len(table.columns) < 2:
        return [table]
    first, *others = table.columns
    room = width - 1 - _BESIDE - min(_longest(first), _NAME)
    groups = list(_groups([_needed(each) for each in others], room))
    return [_part(table, group, width) for group in groups]


def _groups(needed: Sequence[int], room: int) -> Iterator[list[int]]:
    """The places of columns, in order, as many together as the room holds and at least one."""
    group: list[int] = []
    left = room
    for place, characters in enumerate(needed):
        if group and characters + _BESIDE > left:
            yield group
            group, left = [], room
        group.append(place)
        left -= characters + _BESIDE
    yield group


def _part(table: Table, group: Sequence[int], width: int) -> Table:
    """The first column and some others. Room that is left goes to names and heads in turn."""
    from rich.table import Table

    columns = [table.columns[0], *(table.columns[place + 1] for place in group)]
    part = Table(title=None if group[0] else table.title, show_header=table.show_header)
    least = [min(_longest(columns[0]), _NAME), *map(_needed, columns[1:])]
    left = width - 1 - sum(least) - _BESIDE * len(least)
    for column, characters in zip(columns, least, strict=True):
        more = max(0, min(left, max(_longest(column), len(str(column.header))) - characters))
        left -= more
        part.add_column(
            column.header, justify=column.justify, overflow="fold", width=characters + more
        )
    cells_of_rows = zip(*(list(each.cells) for each in columns), strict=True)
    for row, cells in zip(table.rows, cells_of_rows, strict=True):
        part.add_row(*cells, end_section=row.end_section)
    return part


def _longest(column: Column) -> int:
    return max((len(text) for text in _texts(column)), default=0)


def _needed(column: Column) -> int:
    """Characters without which a figure, or a word of the head, would be cut."""
    words = [word for word in str(column.header).split() if word]
    figures = [text for text in _texts(column) if _FIGURE.match(text)]
    names = [text[:_NAME] for text in _texts(column) if not _FIGURE.match(text)]
    return max((len(text) for text in (*words, *figures, *names)), default=0)


def _texts(column: Column) -> Iterator[str]:
    """Of the cells, as they are shown."""
    from rich.text import Text

    return (Text.from_markup(str(cell)).plain for cell in column.cells)
