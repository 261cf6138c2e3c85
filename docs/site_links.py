"""Hooks of mkdocs: links that work in the repository also work on the site.

README.md becomes the first page and docs/README.md the list of pages. A link to a file or folder
outside docs/ leads to a page that shows it.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
HOME = {"README.md": "index.md", "docs/README.md": "pages.md"}  # in the repository: on the site
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_SHOWN = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


def on_files(files: Files, config: Any) -> Files:
    for each in [page for page in files if page.src_uri in ("README.md", "index.md")]:
        files.remove(each)
    for name, page in HOME.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    wanted = {
        target
        for page in files.documentation_pages()
        for _, link, _, _ in _LINK.findall(_FENCE.sub("", page.content_string))
        if (target := _target(page.src_uri, link)) and not _is_page(target)
    }
    shown: set[str] = set()
    while wanted:
        target = wanted.pop()
        if target not in shown:
            shown.add(target)
            wanted |= set(_inside(target))
            text = _page_of(target)
            files.append(File.generated(config, _site_path(target), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    def on_site(match: re.Match[str]) -> str:
        target = _target(page.file.src_uri, match[2])
        if target is None:
            return match[0]
        path = posixpath.relpath(_site_path(target), posixpath.dirname(page.file.src_uri) or ".")
        return f"{match[1]}{path}{match[3] or ''}{match[4]}"

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(on_site, part) for part in parts)


def _target(page: str, link: str) -> str | None:
    """What a page links to, from the root of the repository; None if it is not a file of ours."""
    if "://" in link or link.startswith(("mailto:", "source/")):
        return None
    source = next((name for name, at in HOME.items() if at == page), f"docs/{page}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return target if (ROOT / target).exists() else None


def _is_page(target: str) -> bool:
    """A page, or a picture: what mkdocs puts on the site by itself."""
    return target in HOME or (target.startswith("docs/") and target.endswith((".md", ".svg")))


def _site_path(target: str) -> str:
    if target in HOME:
        return HOME[target]
    return target.removeprefix("docs/") if _is_page(target) else f"source/{target}.md"


def _inside(target: str) -> list[str]:
    """The files of a folder that can be shown."""
    found = sorted((ROOT / target).iterdir()) if (ROOT / target).is_dir() else []
    return [f"{target}/{path.name}" for path in found if path.suffix in _SHOWN]


def _page_of(target: str) -> str:
    """A page that shows a file, or lists a folder."""
    head = f"---\nsearch: {{exclude: true}}\n---\n\n# {target}\n\n"
    path = ROOT / target
    if path.is_dir():
        here = posixpath.dirname(_site_path(target))
        return head + "\n".join(
            f"- [{os.path.basename(each)}]({posixpath.relpath(_site_path(each), here)})"
            for each in _inside(target)
        )
    language = _SHOWN.get(path.suffix, "text")
    return f"{head}~~~~~{language}\n{path.read_text('utf-8').rstrip()}\n~~~~~\n"
