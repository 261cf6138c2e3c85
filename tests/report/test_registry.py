"""Every loop registers its report, a stranger's as ours; what is escaped, and what is loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.offload.conftest import written_run
from tests.report.pages import HOSTILE, Elements, assert_nothing_became_markup, page
from tests.report.share.sharing import written_share_run
from understudy import report
from understudy.errors import RunError
from understudy.report import comparison, report_of
from understudy.run import RunDirectory

MINE = """
from pathlib import Path

import pytest
from understudy.report.parts.page import render

class Mine:
    def __init__(self, run):
        self.run = run

    def page(self):
        words = self.run.settings()["words"]
        return render(self.run, Path(__file__).with_name("mine.html"), words=words)

    def tables(self):
        return []

    def headline(self):
        return {"words": self.run.settings()["words"]}
"""
TEMPLATE = """{% extends "frame.html" %}
{% block title %}{{ words }}{% endblock %}
{% block header %}{{ pieces.heading("my loop", words, "", [(words, words)], []) }}{% endblock %}
{% block content %}{{ pieces.warnings(words, [words]) }}{% endblock %}
{% block command %}{{ words }}{% endblock %}
"""


def test_the_report_is_that_of_the_loop(tmp_path: Path) -> None:
    trained = written_run(tmp_path / "a", ("sums",), {"recipe": "my_file.py:Method"})
    shared = written_share_run(tmp_path / "b")
    found = [type(report_of(run)).__name__ for run in (trained, shared)]
    assert found == ["OffloadReport", "ShareReport"]
    assert len(comparison([trained, shared])) == 2


def test_a_loop_from_outside_brings_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine.html").write_text(TEMPLATE)
    settings = {"report": f"{tmp_path / 'mine.py'}:Mine", "words": HOSTILE}
    run = RunDirectory.create(tmp_path / "run", settings)
    text = page(run)
    assert Elements(text).text.count(HOSTILE) >= 6
    assert_nothing_became_markup(text)
    assert comparison([run]) == [{"run": str(run.path), "words": HOSTILE}]


def test_templates_take_nothing_as_markup_but_a_figure() -> None:
    folder = Path(report.__file__).parent
    templates = "".join(path.read_text() for path in folder.rglob("*.html"))
    assert re.findall(r"\|\s*safe.*", templates) == ["|safe }}</figure>"]
    assert "autoescape" not in templates
    assert "Markup" not in "".join(path.read_text() for path in folder.rglob("*.py"))


def test_templates_are_loaded_where_a_page_is_written() -> None:
    code = "import sys, understudy.report.offload.page, understudy.report.share.page; "
    code += "assert not {'jinja2', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_that_were_cut_short_are_named(tmp_path: Path) -> None:
    run = written_run(tmp_path / "run", ("sums",), {})
    text = run.config.read_text()
    run.config.write_text(text[: text.index("seed:")])
    for shown in (comparison, lambda runs: report.write(runs[0])):
        with pytest.raises(RunError, match=r"config\.yaml: seed is missing"):
            shown([run])
