"""What a user gets wrong: one clear line, an exit code, and no byte on disk changed.

A row of wrong_uses/TOPIC.txt is a command, and below it the line that it says:

    $ train dagrpo --out run --set budget=1.5
    error: budget=1.5: Input should be less than or equal to 1

`...` stands for any words. The exit code is 2; `[1]` before the line says that it is 1. {model} is
a small checkpoint, {run} a run that `understudy train understudy` left, {small} the settings of a
small run, {mine} a small run on a data set of one's own, {store} a gateway's store with a key
`app`, {port} a port that another program listens on. The command stands in a folder with the files
of wrong_uses/files.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.commands import Command, small, snapshot
from understudy.report import screen
from understudy.store.database import open_database, open_events
from understudy.store.keys import Keys

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


@pytest.fixture(scope="session")
def run(finished: dict[str, Path]) -> Path:
    return finished["understudy"]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a gateway that knows one key, and has kept no event."""
    file = tmp_path_factory.mktemp("store") / "gateway.db"
    with closing(open_database(file)) as database, closing(open_events(file)):
        Keys(database).create("app")
    return file


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def mine(model: Path) -> list[str]:
    begin = ["train", "dagrpo", "--out", "run", "--config", "mine.yaml"]
    return [*begin, *small(model), "--set", "stream=[{families: mine, steps: 1}]"]


_SEVERAL = {"small": small, "mine": mine}  # arguments, of a model
_PLACES = re.compile(r"\{(model|run|store|port)\}")


def words_of(typed: str, request: pytest.FixtureRequest) -> list[str]:
    """The arguments of a row. What stands in braces is made when a row first needs it."""
    found: list[str] = []
    for word in shlex.split(typed):
        if several := _SEVERAL.get(word.strip("{}")):
            found += several(request.getfixturevalue("model"))
        else:
            found.append(_PLACES.sub(lambda each: str(request.getfixturevalue(each[1])), word))
    return found


class Here:
    """The folder in which commands stand. Rows leave it as it was, so that one is enough."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.make()

    def make(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(FILES, self.path)
        # A file that no tool for Python could read.
        (self.path / "syntax.py").write_text("def half(:\n")
        self.before = snapshot(self.path)

    def is_unchanged(self) -> bool:
        if snapshot(self.path) == self.before:
            return True
        self.make()
        return False


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    return Here(tmp_path_factory.mktemp("rows") / "here")


@pytest.mark.parametrize(("typed", "says"), ROWS, ids=[typed for typed, _ in ROWS])
def test_a_wrong_use_is_one_line(
    typed: str,
    says: str,
    here: Here,
    request: pytest.FixtureRequest,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = words_of(typed, request)
    monkeypatch.chdir(here.path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of files of Python beside the data
    monkeypatch.setenv("XDG_DATA_HOME", str(here.path))  # of stores that no command names
    monkeypatch.delenv("UNDERSTUDY_STORE", raising=False)
    monkeypatch.setattr(screen, "SILENCE", 3600.0)  # or a slow machine says what it does
    exit_code, line = re.fullmatch(r"(?:\[(\d+)\] )?(.*)", says).groups()  # type: ignore[union-attr]
    code, out, errors = command(*words)
    unchanged = here.is_unchanged()
    assert (code, out) == (int(exit_code or 2), "")
    assert re.fullmatch(pattern(line) + "\n", errors), errors
    assert unchanged


def test_no_row_stands_twice() -> None:
    typed = [row for row, _ in ROWS]
    assert len(typed) == len(set(typed))
