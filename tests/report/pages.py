"""What tests of every page need: reading a page, editing a run's files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from rich.console import Console
from rich.table import Table

from understudy.report import write
from understudy.run import RunDirectory

HOSTILE = "<script>alert('x')</script>&\"--><b onload=x>$\\frac{{{ 7*7 }}"


class Elements(HTMLParser):
    """The start tags of a page, and its text in one piece."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(run: RunDirectory) -> str:
    write(run)
    return shown(run)


def shown(run: RunDirectory) -> str:
    return run.report.read_text(encoding="utf-8")


def terminal(*tables: Table, width: int = 240) -> str:
    """Tables as a terminal of that width shows them."""
    console = Console(file=io.StringIO(), width=width)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def change(run: RunDirectory, file: str, edit: Callable[[Any], None]) -> None:
    """Edit a JSON file of a run in place: "matrix" or "summary"."""
    path = getattr(run, file)
    content = run.read(path)
    edit(content)
    run.write(path, content)


def assert_needs_nothing_else(text: str) -> None:
    """No script, no address outside, and every reference has its one target on the page."""
    elements = Elements(text)
    for tag, attributes in elements.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "image", "base"}
        links = [attributes.get(name) for name in ("src", "href", "xlink:href")]
        assert all(link is None or link.startswith("#") for link in links)
    addresses = re.findall(r'[\w:]+="https?://[^"]*"|https?://[^\s"<]+', text)
    assert all(address.startswith("xmlns") for address in addresses)
    assert "@import" not in text
    ids = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert {first or second for first, second in references} <= set(ids)
    policy = [tag[1]["content"] for tag in elements.tags if "http-equiv" in tag[1]]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def assert_nothing_became_markup(text: str) -> None:
    elements = Elements(text)
    assert {"script", "b"} & {tag for tag, _ in elements.tags} == set()
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    assert HOSTILE in elements.text
