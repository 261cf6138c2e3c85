"""The pages' templates. All text in them is escaped: questions and answers are anybody's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from understudy.gateway.pages import decisions, figures

_HERE = Path(__file__).parent
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
STATIC_PATH = "/dashboard/static/"


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    type: str
    digest: str


def assets() -> dict[str, Asset]:
    """The files that pages load, by name; nothing else is served."""
    found = {}
    for file in sorted((_HERE / "static").iterdir()):
        if file.suffix in _TYPES:
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            found[file.name] = Asset(content, _TYPES[file.suffix], digest)
    return found


class Templates:
    def __init__(self) -> None:
        self.assets = assets()
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "html"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,  # it would look at the files with every piece of an answer
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "amount": lambda value, unit: figures.amount(unit, value),
            "anchor": decisions.anchor,
            "clock": figures.clock,
            "count": figures.count,
            "dollars": figures.dollars,
            "duration": figures.duration,
            "event_dollars": decisions.dollars_of,
            "lasting": figures.lasting,
            "per_second": figures.per_second,
            "share": figures.share,
            "told": _told,
            "utc": figures.utc,
        }
        self._environment.globals["static"] = self._static

    def render(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render(values)

    def _static(self, name: str) -> str:
        """An address that changes with the content, so that browsers may keep it for ever."""
        return f"{STATIC_PATH}{name}?v={self.assets[name].digest}"


def _told(value: Any) -> str:
    """Any value, in words."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False, default=str)
