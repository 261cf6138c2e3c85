"""What the pages of all runs are made of: tables, tiles, facts, and the file itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from string import Template

import yaml

from understudy.errors import RunError
from understudy.files import write_text
from understudy.run import RunDirectory

_MANY = 10  # columns above which a table is set smaller


def write_page(run: RunDirectory, template: str, parts: Mapping[str, str]) -> None:
    """Fill a template with HTML; the style and the run's settings are on every page."""
    settings = yaml.safe_dump(run.settings(), sort_keys=False, allow_unicode=True)
    always = {"style": _shipped("parts/page.css"), "settings": escape(settings)}
    try:
        write_text(run.report, Template(_shipped(template)).substitute(parts, **always))
    except OSError as error:
        raise RunError(f"{run.report}: cannot be written ({error.strerror})") from error


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already; the first of a row heads it."""
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    whole = f"<table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table>"
    dense = " dense" if len(heads) > _MANY else ""
    return f'<div class="table{dense}">{whole}</div>'


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """(name, figure, note) each: what to know first."""
    return "\n".join(
        f"<li><span>{escape(name)}</span><strong>{escape(figure)}</strong>"
        f"<small>{escape(note)}</small></li>"
        for name, figure, note in items
    )


def facts(items: Iterable[tuple[str, object]]) -> str:
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(fact))}</dd></div>" for name, fact in items
    )


def section(title: str, *content: str) -> str:
    """HTML under a heading."""
    return "\n".join(("<section>", f"<h2>{escape(title)}</h2>", *content, "</section>"))


def _shipped(name: str) -> str:
    return resources.files("understudy.report").joinpath(name).read_text(encoding="utf-8")
