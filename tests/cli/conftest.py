"""A model, finished runs, and the command line with arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import Command, snapshot
from tests.offload.runs import config_of, run_new, saved_model
from understudy import cli
from understudy.recipes import RECIPES


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each way of serving."""
    folder = tmp_path_factory.mktemp("runs")
    for name in RECIPES:
        run_new(folder / name, config_of(name, model, steps=1))
    return {name: folder / name for name in RECIPES}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line with arguments: (exit code, output, errors)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["understudy", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return run


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Callable[..., str]:
    """Runs what must be refused: one line, exit code 2, and no byte on disk changed."""

    def run(*arguments: object) -> str:
        before = snapshot(tmp_path)
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert snapshot(tmp_path) == before
        return err

    return run
