"""Settings with their meaning, in words: for the command line's help and for docs/config.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from understudy.settings import Section, Setting, described_settings


def settings_text(section: type[Section]) -> str:
    """All settings of a section, for a terminal; those of a kind stand under its name."""
    lines = ["Settings (--set key=value, or the same keys in a YAML file):"]
    for owner, rows in groupby(described_settings(section), lambda row: row.owner):
        indent = "    " if owner else "  "
        if owner:
            lines.append(f"  where {owner.replace(' ', '=', 1)}:")
        for row in rows:
            text = f"{row.meaning} [{row.type}; {row.default}]"
            inner = f"{indent}    "
            lines.append(f"{indent}{row.key}")
            lines += textwrap.wrap(text, 88, initial_indent=inner, subsequent_indent=inner)
    return "\n".join(lines) + "\n"


def settings_table(rows: Iterable[Setting]) -> Iterator[str]:
    """The lines of a table in Markdown."""
    yield "| setting | type | default | meaning |"
    yield "|---|---|---|---|"
    for row in rows:
        cells = (row.key, row.type, row.default, row.meaning)
        key, kind, default, meaning = (cell.replace("|", "\\|") for cell in cells)
        yield f"| `{key}` | {kind} | `{default}` | {meaning} |"
