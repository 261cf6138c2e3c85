"""Every setting with its meaning, for the command line's help and for docs/config.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from understudy.offload.config import Config
from understudy.settings import Section, described_settings


def settings_text(defaults: Mapping[str, Any], section: type[Section] = Config) -> str:
    """All settings of a recipe, for a terminal."""
    lines = ["Settings (--set key=value, or the same keys in a YAML file):"]
    for key, kind, default, meaning in _rows(defaults, section):
        text = f"{meaning} [{kind}; {default}]"
        lines += [
            f"  {key}",
            *textwrap.wrap(text, 88, initial_indent=" " * 6, subsequent_indent=" " * 6),
        ]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """docs/config.md: the table of settings, generated."""
    lines = [
        "# Settings",
        "",
        "Generated from `understudy/offload/config.py` by `python -m understudy.report.settings`.",
        "Set them with `--set key=value` (dots reach into sections) or in a YAML file given to",
        "`--config`. A recipe may start from other defaults: `understudy train RECIPE --help`.",
        "",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    from understudy.share.variants import ShareRun  # numpy, which help on recipes does without

    lines += _table(Config)
    lines += [
        "",
        "## Of agents that share",
        "",
        "Generated from `understudy/share/`: what a file for `understudy share` may say.",
        "",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
        *_table(ShareRun),
    ]
    return "\n".join(lines) + "\n"


def _table(section: type[Section]) -> Iterator[str]:
    for row in _rows({}, section):
        key, kind, default, meaning = (cell.replace("|", "\\|") for cell in row)
        yield f"| `{key}` | {kind} | `{default}` | {meaning} |"


def _rows(defaults: Mapping[str, Any], section: type[Section]) -> list[list[str]]:
    """The settings with a recipe's own defaults in place of the general ones."""
    own = _flat(defaults)
    return [
        [key, kind, own.get(key, default), meaning]
        for key, kind, default, meaning in described_settings(section)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    result: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= _flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
    return result


if __name__ == "__main__":
    print(settings_page(), end="")
