"""Settings as YAML in which every line says why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_WIDTH = 100
_COLUMN = 40  # where a remark begins, if there is room


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting and why it has this value. value: a list of entries is a section."""

    key: str
    value: Any
    why: str


def yaml_text(head: Sequence[str], entries: Sequence[Entry]) -> str:
    """head: what stands above, as remarks.

    >>> print(yaml_text(["mine"], [Entry("lora", [Entry("rank", 16, "by size")], "adapters")]))
    # mine
    <BLANKLINE>
    lora:                                   # adapters
      rank: 16                              # by size
    <BLANKLINE>
    """
    lines = [f"# {line}".rstrip() for line in head]
    return "\n".join([*lines, "", *_lines(entries, "")]) + "\n"


def _lines(entries: Sequence[Entry], indent: str) -> Iterator[str]:
    for entry in entries:
        is_section = _is_section(entry.value)
        shown = f"{indent}{entry.key}:" + ("" if is_section else f" {in_yaml(entry.value)}")
        beside = f"{shown:<{_COLUMN}}# {entry.why}"
        if len(shown) < _COLUMN and len(beside) <= _WIDTH:
            yield beside
        else:
            room = _WIDTH - len(indent) - 2
            yield from (f"{indent}# {line}" for line in textwrap.wrap(entry.why, room))
            yield shown
        if is_section:
            yield from _lines(entry.value, f"{indent}  ")


def _is_section(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(each, Entry) for each in value)
    )


def in_yaml(value: Any) -> str:
    """On one line.

    >>> in_yaml(5e-05), in_yaml("a: b"), in_yaml([{"families": "mine", "steps": 20}])
    ('5.0e-05', "'a: b'", '[{families: mine, steps: 20}]')
    """
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    return text.removesuffix("...\n").strip()


def as_settings(entries: Sequence[Entry]) -> dict[str, Any]:
    """The same without the reasons."""
    return {
        each.key: as_settings(each.value) if _is_section(each.value) else each.value
        for each in entries
    }
