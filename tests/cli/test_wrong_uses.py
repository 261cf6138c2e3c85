"""What a user gets wrong: one clear line, an exit code, and no byte on disk changed.

A row of wrong_uses/NAME.txt is a command, and below it the line that it says:

    $ train dagrpo --out run --set budget=1.5
    error: budget=1.5: Input should be less than or equal to 1

`...` stands for any words. The exit code is 2; `[1]` before the line says that it is 1. {model} is
a small checkpoint, {run} a run that `understudy train understudy` left, and {small} the settings of
a small run. The command stands in a folder with the files of wrong_uses/files.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Command, small, snapshot

TABLES = sorted((Path(__file__).parent / "wrong_uses").glob("*.txt"))
FILES = Path(__file__).parent / "wrong_uses" / "files"


def rows() -> Iterator[tuple[str, str]]:
    for table in TABLES:
        lines = [each for each in table.read_text().splitlines() if each and each[0] != "#"]
        assert len(lines) % 2 == 0, table
        for command, says in zip(lines[::2], lines[1::2], strict=True):
            assert command.startswith("$ "), command
            assert not says.startswith("$ "), says
            yield command[2:], says


ROWS = list(rows())


def pattern(says: str) -> str:
    return "".join(
        ".*" if part == "..." else re.escape(part) for part in re.split(r"(\.\.\.)", says)
    )


@pytest.mark.parametrize(("typed", "says"), ROWS, ids=[typed for typed, _ in ROWS])
def test_a_wrong_use_is_one_line(
    typed: str,
    says: str,
    model: Path,
    finished: dict[str, Path],
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Path(shutil.copytree(FILES, tmp_path / "here"))
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of reward functions beside the data
    places = {"{model}": str(model), "{run}": str(finished["understudy"])}
    words: list[str] = []
    for word in shlex.split(typed):
        for mark, place in places.items():
            word = word.replace(mark, place)
        words += small(model) if word == "{small}" else [word]
    exit_code, line = re.fullmatch(r"(?:\[(\d+)\] )?(.*)", says).groups()  # type: ignore[union-attr]
    before = snapshot(here)
    code, out, errors = command(*words)
    assert (code, out) == (int(exit_code or 2), "")
    assert re.fullmatch(pattern(line) + "\n", errors), errors
    assert snapshot(here) == before


def test_no_row_stands_twice() -> None:
    typed = [row for row, _ in ROWS]
    assert len(typed) == len(set(typed))
