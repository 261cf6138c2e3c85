"""Hostile programs: none passes, none gets out, none stays, none holds up or harms the others."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.sandbox.conftest import LIMITS
from tests.sandbox.forgeries import FORGERIES
from tests.sandbox.gluttons import GLUTTONS
from tests.sandbox.hostile import LATE
from tests.sandbox.intruders import INTRUDERS
from tests.sandbox.outside import descendants, named
from understudy.sandbox import Program, Sandbox, Verdict

HOSTILE = FORGERIES | INTRUDERS | GLUTTONS

SHORT = replace(LIMITS, seconds=1.0, wall=3.0)  # for those that are known to take all of it

EVERY = 5  # after so many hostile programs comes an honest one
HONEST = Program(
    "def mean(values):\n    return sum(values) / len(values)\n",
    tests=["assert mean([1, 2, 6]) == 3", "assert mean([0.5]) == 0.5"],
)

# What the server may take beyond a program's limit, on a machine that is busy with other things.
LATENESS = 10.0


@dataclass(frozen=True, slots=True)
class Aftermath:
    verdicts: dict[str, Verdict]
    honest: list[Verdict]
    seconds: float
    name: str  # of the files and processes that the programs tried to leave
    folder: Path
    visited: bool  # by someone on one of the sockets
    running: int  # processes of a sandbox when all was judged
    left: set[int]  # below this process when the sandbox was closed


@pytest.fixture(scope="module")
def aftermath(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """Of all hostile programs, judged in one batch by one sandbox."""
    folder, name = tmp_path_factory.mktemp("host"), f"c{secrets.token_hex(6)}"
    (folder / "canary").write_text("canary")
    folder.chmod(0o755)
    before = descendants()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("CANARY", "canary")
        patch.setenv("HOME", str(folder))
        listening = [stack.enter_context(each) for each in listeners(folder, name)]
        tokens = {
            "SECRET": str(secrets.randbelow(9 * 10**11) + 10**11),
            "NAME": name,
            "FOLDER": str(folder),
            "HOME": str(folder),
            "PARENT": str(os.getpid()),
            "PORT": str(listening[0].getsockname()[1]),
        }
        programs = {name: hostile.program(tokens) for name, hostile in HOSTILE.items()}
        endless = [name for name, hostile in HOSTILE.items() if hostile.may == LATE]
        others = [name for name in HOSTILE if name not in endless]
        started, running = time.monotonic(), 0
        verdicts: dict[str, Verdict] = {}
        honest: list[Verdict] = []
        for names, limits in ((others, LIMITS), (endless, SHORT)):
            order = [each for i, one in enumerate(names) for each in among(i, one)]
            with Sandbox(workers=2, limits=limits) as sandbox:
                judged = sandbox.run_all([programs.get(each, HONEST) for each in order])
                running = max(running, left_running(before))
            verdicts |= {one: v for one, v in zip(order, judged, strict=True) if one in programs}
            honest += [v for one, v in zip(order, judged, strict=True) if one not in programs]
        yield Aftermath(
            verdicts=verdicts,
            honest=honest,
            seconds=time.monotonic() - started,
            name=name,
            folder=folder,
            visited=any(map(was_visited, listening)),
            running=running,
            left=descendants() - before,
        )


def left_running(before: set[int]) -> int:
    """How many processes there are once those just killed have had time to go."""
    deadline = time.monotonic() + LATENESS
    while len(descendants() - before) > 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    return len(descendants() - before)


def among(i: int, name: str) -> list[str]:
    """An honest one after so many hostile ones."""
    return [name, "honest"] if i % EVERY == EVERY - 1 else [name]


def listeners(folder: Path, name: str) -> Iterator[socket.socket]:
    for family, kind, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{name}"),
        (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket")),
    ):
        listening = socket.socket(family, kind)
        listening.bind(address)
        listening.listen()
        listening.setblocking(False)
        yield listening


def was_visited(listening: socket.socket) -> bool:
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_there_are_many() -> None:
    assert len(HOSTILE) == len(FORGERIES) + len(INTRUDERS) + len(GLUTTONS) >= 60


@pytest.mark.parametrize("name", HOSTILE)
def test_it_does_not_pass(aftermath: Aftermath, name: str) -> None:
    """Nor does the sandbox fail: then the program would get off without a verdict."""
    verdict = aftermath.verdicts[name]
    assert verdict.passed is False, verdict
    assert verdict.outcome in {*HOSTILE[name].may, "timeout"}, verdict
    assert verdict.detail.isprintable()
    assert len(verdict.detail) < 500
    assert verdict.seconds < LIMITS.wall + LATENESS


def test_the_honest_ones_among_them_pass(aftermath: Aftermath) -> None:
    assert len(aftermath.honest) > 10
    late = {"passed", "timeout"}  # on a machine so busy that nothing is done in SHORT
    assert all(verdict.passed for verdict in aftermath.honest[:10])
    assert {verdict.outcome for verdict in aftermath.honest} <= late


def test_they_take_bounded_time(aftermath: Aftermath) -> None:
    count = len(aftermath.verdicts) + len(aftermath.honest)
    assert aftermath.seconds < count * (LIMITS.wall + LATENESS) / 2


def test_they_leave_no_process(aftermath: Aftermath) -> None:
    """While the sandbox is open there is bubblewrap and the server, for each of two workers."""
    assert aftermath.running <= 4
    assert aftermath.left == set()
    assert named(aftermath.name) == []


def test_they_leave_no_file(aftermath: Aftermath) -> None:
    folders = [aftermath.folder, Path.cwd(), Path("/"), Path("/tmp"), Path("/var/tmp")]
    folders += [Path("/dev/shm"), Path("/dev/mqueue"), Path("/etc")]
    assert [folder for folder in folders if (folder / aftermath.name).exists()] == []
    assert sorted(path.name for path in aftermath.folder.iterdir()) == ["canary", "socket"]
    assert (aftermath.folder / "canary").read_text() == "canary"


def test_they_reach_nobody(aftermath: Aftermath) -> None:
    assert not aftermath.visited


def test_the_next_program_finds_nothing_of_the_last(walls: None) -> None:
    """One worker, so that all run in the same server."""
    leave = Program(
        "import os, random, sys\nopen('/tmp/left', 'w').write('x')\nsys.left = True\n"
        "os.environ['LEFT'] = 'x'\nimport math\nmath.left = True\nif not os.fork():\n"
        "  while True: pass\ndef answer(): return 1",
        tests=["assert answer() == 1"],
    )
    look = Program(
        "import math, os, sys\nfound = [os.listdir('/tmp'), hasattr(sys, 'left'), [*os.environ],\n"
        "hasattr(math, 'left'), os.getpid()]\ndef answer(): return found",
        tests=["assert answer() == [[], False, [], False, 1]"],
    )
    with Sandbox(workers=1, limits=LIMITS) as sandbox:
        verdicts = sandbox.run_all([leave, look, leave, look])
    assert [verdict.outcome for verdict in verdicts] == ["passed"] * 4, verdicts
