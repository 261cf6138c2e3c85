"""Ctrl-C at any moment is one line and exit code 130, and what is written can be resumed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
from understudy import interrupt
interrupt.end_at_once()
print("begun", flush=True)
from understudy.__main__ import main
main()
"""


def interrupted(after: float, out: Path) -> tuple[int, str]:
    """(exit code, standard error) of a run interrupted so many seconds after it began."""
    arguments = [
        "train",
        "dagrpo",
        "--out",
        str(out),
        "--set",
        "stream=demo",
        "--set",
        "steps=9999",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=600)[1]
    return process.returncode, errors


def check(after: float, out: Path) -> None:
    code, errors = interrupted(after, out)
    assert code == 130, errors
    assert errors in ("interrupted\n", "interrupted; continue with --resume\n"), after
    if "--resume" in errors:
        assert (out / "config.yaml").exists()


@pytest.mark.parametrize("after", [0.0, 0.15, 0.4, 1.2])
def test_an_interrupt_is_one_line_from_the_first_moment_on(after: float, tmp_path: Path) -> None:
    check(after, tmp_path / "run")


@pytest.mark.slow
def test_an_interrupt_at_any_drawn_moment_is_one_line(tmp_path: Path) -> None:
    rng = random.Random(0)
    for number in range(60):
        check(rng.uniform(0.0, 1.0 if number % 2 else 8.0), tmp_path / f"run-{number}")
