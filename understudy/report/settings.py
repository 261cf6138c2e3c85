"""Settings with their meaning, in words: for the command line's help and for docs/config.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from understudy.settings import Section, Setting, described_settings


def settings_text(section: type[Section], common: type[Section] | None = None) -> str:
    """All settings of a section, for a terminal; those of a kind stand under its name.

    common: the section that a recipe's own one extends; what it adds or changes comes first.
    """
    lines = ["Settings (--set key=value, or the same keys in a YAML file):"]
    rows = described_settings(section)
    if common is not None:
        shared = set(described_settings(common))
        lines += ["Of this recipe:", *_listed([row for row in rows if row not in shared])]
        lines.append("Of every recipe:")
        rows = [row for row in rows if row in shared]
    return "\n".join([*lines, *_listed(rows)]) + "\n"


def _listed(settings: Iterable[Setting]) -> list[str]:
    lines = []
    for owner, rows in groupby(settings, lambda row: row.owner):
        indent = "    " if owner else "  "
        if owner:
            lines.append(f"  where {owner.replace(' ', '=', 1)}:")
        for row in rows:
            text = f"{row.meaning} [{row.type}; {row.default}]"
            inner = f"{indent}    "
            lines.append(f"{indent}{row.key}")
            lines += textwrap.wrap(text, 88, initial_indent=inner, subsequent_indent=inner)
    return lines


def settings_table(rows: Iterable[Setting]) -> Iterator[str]:
    """The lines of a table in Markdown."""
    yield "| setting | type | default | meaning |"
    yield "|---|---|---|---|"
    for row in rows:
        cells = (row.key, row.type, row.default, row.meaning)
        key, kind, default, meaning = (cell.replace("|", "\\|") for cell in cells)
        yield f"| `{key}` | {kind} | `{default}` | {meaning} |"
