"""The files that a stranger opens first: one version in all of them, each in the form it claims."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import yaml

import understudy

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
VERSIONS = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", CHANGELOG, re.MULTILINE)
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest, day = VERSIONS[0]
    assert project["version"] == understudy.__version__ == CITATION["version"] == newest
    assert str(CITATION["date-released"]) == day


def test_the_changelog_has_the_form_that_it_claims() -> None:
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert headings == ["Unreleased", *(f"{version} - {day}" for version, day in VERSIONS)]
    numbers = [tuple(map(int, version.split("."))) for version, _ in VERSIONS]
    assert numbers == sorted(set(numbers), reverse=True)
    days = [date.fromisoformat(day) for _, day in VERSIONS]
    assert days == sorted(days, reverse=True)
    assert set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)) <= CHANGES


def test_the_citation_has_what_its_format_asks_for() -> None:
    """What version 1.2.0 of the Citation File Format requires, of the file and of each work."""
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    works = [CITATION, *CITATION["references"]]
    assert [
        work["title"] for work in works if not all(map(is_person_or_name, work["authors"]))
    ] == []
    assert all(isinstance(work["title"], str) and work["authors"] for work in works)
    assert CITATION["message"]
    assert all(work["type"] == "article" and work["year"] > 2000 for work in CITATION["references"])


def is_person_or_name(author: dict[str, str]) -> bool:
    return set(author) in ({"name"}, {"family-names", "given-names"})


def test_the_readme_links_to_every_paper_that_is_cited() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [work["url"] for work in CITATION["references"] if work["url"] not in readme] == []
