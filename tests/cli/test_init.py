"""`understudy init`: what it writes is what the next command takes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.commands import Command
from understudy.init.templates import TEMPLATES

QUESTIONS = "\n".join(["text,label", *(f"text {i},{'ab'[i % 2]}x" for i in range(60))])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(QUESTIONS)
    return tmp_path


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_template_is_taken_by_its_verb(name: str, command: Command, here: Path) -> None:
    code, out, err = command("init", "--template", name)
    assert (code, err) == (0, "")
    then = out.splitlines()[-1].strip()
    code, out, err = command(*shlex.split(then)[1:], "--dry-run")
    assert (code, err) == (0, "")
    assert out.strip()
    lines = (here / f"{name}.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line and "#" not in line and not before.lstrip().startswith("#")
    ]
    assert bare == []


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_template_is_not_written_over(name: str, command: Command, here: Path) -> None:
    command("init", "--template", name, "--out", "there")
    written = {path.name: path.read_text() for path in (here / "there").iterdir()}
    assert len(written) == 1 + len(TEMPLATES[name].beside)
    for path in (here / "there").iterdir():
        path.write_text("mine")
        code, out, err = command("init", "--template", name, "--out", "there")
        assert (code, out) == (2, "")
        assert "--force" in err
        assert path.read_text() == "mine"
        command("init", "--template", name, "--out", "there", "--force")
        assert path.read_text() == written[path.name]


def test_what_was_looked_at_is_said_and_the_next_command_takes_it(
    command: Command, here: Path
) -> None:
    code, out, _ = command("init", "--data", "mine.csv", "--model", "tiny")
    assert code == 0
    assert "60 rows, 60 different questions" in out
    assert "column text asks, column label answers (by their names)" in out
    assert "checked as label: 2 different answers" in out
    then = out.splitlines()[-1].strip()
    assert then == "understudy train understudy --config mine.yaml --out runs/mine"
    code, out, _ = command(*shlex.split(then)[1:], "--dry-run")
    assert code == 0
    assert "max_completion_length:" in out


def test_json_and_quiet(command: Command, here: Path) -> None:
    given = ("init", "--data", "mine.csv", "--model", "tiny", "--out")
    code, out, _ = command(*given, "one.yaml", "--json")
    found = json.loads(out)
    assert (code, found["path"], found["checker"]) == (0, "one.yaml", "label")
    assert sum(found["split"].values()) == found["questions"] == 60
    assert found["dry_call"] is None
    assert found["next"].endswith("--out runs/mine")
    assert command(*given, "deep/two.yml", "--quiet")[1] == "deep/two.yml\n"
    assert (here / "deep" / "two.yml").is_file()
    out = command("init", "--template", "serving", "--json")[1]
    assert json.loads(out)["files"] == ["serving.yaml"]


def test_what_is_written_elsewhere_finds_the_data(command: Command, here: Path) -> None:
    code, _, _ = command("init", "--data", "mine.csv", "--model", "tiny", "--out", "there/here")
    assert code == 0
    there = here / "there" / "here" / "mine.yaml"
    assert command("train", "understudy", "--config", there, "--out", "run", "--dry-run")[0] == 0
