"""The page of several runs: every kind beside the others, with its own figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.report.federate.test_page import written_run as written_federation
from tests.report.offload.conftest import written_run
from tests.report.pages import (
    HOSTILE,
    Elements,
    assert_needs_nothing_else,
    change,
)
from tests.report.share.sharing import THREE, written_share_run
from understudy.errors import ConfigError
from understudy.report import comparison, write_comparison
from understudy.report.compared.records import differing_settings, read_runs
from understudy.run import RunDirectory

Runs = list[RunDirectory]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    return [
        written_run(folder / "trained", ("sums",), {"budget": 0.3}),
        written_run(folder / "never asks", ("sums",), {"budget": 0.1}, asks=False),
        written_share_run(folder / "shared", THREE, agents=3, tasks=2),
        written_federation(folder / "federated"),
    ]


@pytest.fixture(scope="module")
def text(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "page.html"
    write_comparison(runs, file)
    return file.read_text(encoding="utf-8")


def test_runs_of_every_kind_stand_beside_each_other(runs: Runs, text: str) -> None:
    found = re.findall(r"<table>.*?</table>", text, re.DOTALL)[0]
    heads = re.findall(r'<th scope="col">(.*?)</th>', found)
    assert heads == ["figure", "trained", "never asks", "shared", "federated"]
    cells = {
        re.sub("<.*?>", "", name): [
            re.sub("<.*?>", "", each) for each in re.findall("<td>.*?</td>", row)
        ]
        for name, row in re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', found, re.DOTALL)
    }
    assert cells["recipe"] == ["understudy", "understudy", "share", "federate"]
    assert cells["quality"][2:] == ["0.900", "0.700"]
    assert cells["dollars"] == ["$0.0371", "$0.0371", "$0.00", "$0.00"]
    assert cells["gain, %"][:2] == cells["local BWT"][2:] == ["–", "–"]
    assert "<strong>" in next(row for row in found.splitlines() if ">quality<" in row)


def test_a_page_of_runs_needs_nothing_but_itself(text: str) -> None:
    assert_needs_nothing_else(text)


def test_what_runs_of_one_kind_do_not_have_alike_is_listed(runs: Runs, text: str) -> None:
    found = dict(differing_settings(read_runs(runs, comparison(runs))))
    assert found["budget"] == ["0.3", "0.1", "–", "–"]
    assert "eval_queries" not in found
    settings = text[text.index("All settings") :]
    assert "budget: 0.1" in settings
    elements = Elements(text).text
    assert yaml.safe_load(
        elements[elements.index("All settings") + len("All settings") :]
    ).keys() == {
        "trained",
        "never asks",
        "shared",
        "federated",
    }


def test_runs_with_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    same = [written_share_run(tmp_path / n / "run", THREE[:1], 1, 1, 1, False) for n in "ab"]
    assert [run.name for run in read_runs(same, comparison(same))] == [
        str(tmp_path / n / "run") for n in "ab"
    ]


def test_nothing_is_written_over(runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        write_comparison(runs, file)
    assert file.read_text() == "mine"


def test_names_of_runs_cannot_become_markup_and_what_is_unknown_is_a_dash(tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE.replace("/", "|")
    run = written_share_run(folder, THREE[:1], 1, 1, 1, fits=False)
    nothing = {"quality": dict.fromkeys(("mean", "low", "high")), "per_user": [None], "cost": {}}
    change(run, "summary", lambda summary: summary.update(nothing))
    write_comparison([run], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Nothing crossed a link" in page
    assert not re.search(r"\b(nan|None)\b", page)
    assert {"script", "b"} & {tag for tag, _ in Elements(page).tags} == set()
    assert folder.name in Elements(page).text
