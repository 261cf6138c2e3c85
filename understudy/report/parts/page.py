"""A page: a loop's template filled with the figures of a run.

Templates extend `frame.html` and write every table, tile and figure with the macros of
`pieces.html`. They escape all text. Only two things are taken as they are: the style, and the SVG
that the macro `figure` gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from understudy.run import RunDirectory

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Tile:
    """One figure of those to know first."""

    name: str
    figure: str
    note: str


def render(run: RunDirectory, template: Path, **values: object) -> str:
    """The page of a run. Beside `values` a template has the run's `settings`, as YAML."""
    settings = yaml.safe_dump(run.settings(), sort_keys=False, allow_unicode=True)
    page = environment(template.parent).get_template(template.name)
    return page.render(values, settings=settings)


def environment(folder: Path) -> Environment:
    """Templates of a folder, and those that all pages are made of."""
    import jinja2  # only who writes a page waits for it

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
