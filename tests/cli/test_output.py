"""Standard output that is full, closed or gone: results are refused, runs go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.offload.runs import SMALL, config_of, results_of, run_new, saved_model, settings_of
from understudy.run import RunDirectory

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


def understudy(arguments: list[object], output: int) -> tuple[int, str]:
    """(exit code, standard error) of a command that prints to a file descriptor."""
    done = subprocess.run(
        [sys.executable, "-m", "understudy", *map(str, arguments)],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stderr


def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads, as after `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def training(out: Path, model: Path) -> list[object]:
    given = settings_of(SMALL | {"model": str(model), "steps": 1})
    return ["train", "dagrpo", "--out", out, *(p for each in given for p in ("--set", each))]


@pytest.mark.parametrize("verb", [["--help"], ["env"], ["train", "dagrpo", "--help"]])
def test_a_result_that_cannot_be_written_is_one_line(verb: list[object]) -> None:
    with FULL.open("w") as full:
        code, errors = understudy(verb, full.fileno())
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("error: standard output cannot be written (No space left")


@pytest.mark.parametrize("verb", [["--help"], ["env"]])
def test_a_reader_that_has_gone_needs_no_words(verb: list[object]) -> None:
    assert understudy(verb, closed_pipe()) == (141, "")


@pytest.mark.parametrize("where", ["full", "closed"])
def test_a_log_that_cannot_be_written_does_not_end_training(
    where: str, model: Path, tmp_path: Path
) -> None:
    wanted = results_of(run_new(tmp_path / "whole", config_of("dagrpo", model, steps=1)))
    output = os.open(FULL, os.O_WRONLY) if where == "full" else closed_pipe()
    try:
        code, errors = understudy(training(tmp_path / "run", model), output)
    finally:
        os.close(output)
    assert code == 0, errors
    assert errors.count("\n") == 1
    assert "the run goes on without it" in errors
    run = RunDirectory.open(tmp_path / "run")
    assert results_of(run) == wanted
    assert run.report.exists()
