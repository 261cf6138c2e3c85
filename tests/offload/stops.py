"""Processes that are killed, or find the disk full, at a stated moment of a run.

Python tells its audit hooks of every file that is opened, and `TellingCloud` of every call to the
cloud. So a process ends where a test says, however fast the machine is.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.offload.processes import FORKS, run_command
from understudy.clouds.simulated import SimulatedCloud
from understudy.types import Reply, Request

CALL = "call"  # a call to the cloud; anything else is a part of an opened file's path


class TellingCloud(SimulatedCloud):
    """The simulated cloud; its calls are events."""

    async def answer(self, request: Request) -> Reply:
        sys.audit(CALL)
        return await super().answer(request)


Moment = tuple[str, ...]  # what happens first, what happens after it, and so on
_ROOM = 4096  # bytes of a file, once the disk is full: an error still finds its way


def run_until(
    moment: Moment, disk: Path | None, arguments: list[str], said: Path, full: bool
) -> None:
    """Be `understudy ARGUMENTS`, until the last event of a moment: then it is killed, or the disk
    is full. Of a disk that is not given, no file can grow any more."""
    left = list(moment)

    def watch(event: str, details: tuple[Any, ...]) -> None:
        if not left:
            return
        wanted = left[0]  # a part of a path that is opened, or an event of another name
        opened = event == "open" and wanted.startswith("/") and wanted in str(details[0])
        if not opened and event != wanted:
            return
        left.pop(0)
        if left:
            return
        if not full:
            os.kill(os.getpid(), signal.SIGKILL)
        elif disk is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (_ROOM, _ROOM))
        else:
            fill(disk)

    sys.addaudithook(watch)
    run_command(arguments, said, {})


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), ballast(disk).open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def ballast(disk: Path) -> Path:
    """The file that takes up all the room."""
    return disk / "ballast"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 8 MB of its own; skips where this process may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def killed_at(moment: Moment, arguments: list[str], said: Path) -> None:
    """Run a command until it is killed; it must not end before."""
    process = FORKS.Process(target=run_until, args=(moment, None, arguments, said, False))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, (moment, process.exitcode, said.read_text())


def stopped_by_a_full_disk(
    moment: Moment, disk: Path | None, arguments: list[str], said: Path
) -> str:
    """Run a command into a full disk; the error that it ends with, of one line."""
    process = FORKS.Process(target=run_until, args=(moment, disk, arguments, said, True))
    process.start()
    process.join()
    words = said.read_text()
    assert process.exitcode == 2, (moment, process.exitcode, words)
    if disk:
        ballast(disk).unlink()
    (error,) = [line for line in words.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in words
    assert words.endswith(f"{error}\n")
    return error
