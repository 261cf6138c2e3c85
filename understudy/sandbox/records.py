"""What the sandbox is given and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from understudy.errors import SandboxError

# "failed": a wrong answer.  "error": it raised, or left with a status.  "crashed": it died or went
# away.  "output": it wrote too much.  "sandbox": not the program but the sandbox failed.
Outcome = Literal["passed", "failed", "error", "timeout", "memory", "output", "crashed", "sandbox"]

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use, all its processes together where nothing else is said."""

    # For a program and all its tests, or for each of its cases.
    seconds: float = 5.0  # of processor time, so a busy machine does not change a verdict
    wall: float = 20.0  # seconds by the clock on the wall, for those that only wait
    memory: int = 512 * MEBIBYTE  # bytes; also the address space of each process, above the start
    output: int = MEBIBYTE  # bytes: what it prints and what its functions return
    processes: int = 16  # threads count
    files: int = 64  # open in one process
    disk: int = 32 * MEBIBYTE  # bytes in its own /tmp, which is memory

    def __post_init__(self) -> None:
        for name in ("seconds", "wall", "memory", "output", "processes", "files", "disk"):
            if getattr(self, name) <= 0:
                raise SandboxError(f"{name}={getattr(self, name)} leaves a program nothing")
        if self.files < 16:
            raise SandboxError(f"files={self.files} is too few for Python itself; use at least 16")


@dataclass(frozen=True, slots=True)
class Case:
    """What a program reads, and what it should print. Whitespace between words does not count."""

    stdin: str
    stdout: str


@dataclass(frozen=True, slots=True)
class Program:
    """Source that nobody has read, and how it is checked: by tests or by cases, not both."""

    source: str
    tests: Sequence[str] = ()  # Python code each, with asserts about the program's names
    setup: str = ""  # runs once before the tests, beside them; what it defines hides the program's
    entry: Sequence[str] = ()  # names the program may define although they are Python's own
    cases: Sequence[Case] = ()

    def __post_init__(self) -> None:
        if isinstance(self.tests, str):
            raise SandboxError("tests is one text; give a list of tests, each with its own asserts")
        if bool(self.tests) == bool(self.cases):
            given = "both" if self.tests else "neither"
            raise SandboxError(f"a program needs tests or cases to be judged by, but has {given}")


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: bool | None  # None: the sandbox failed, which says nothing about the program
    outcome: Outcome
    detail: str = ""  # one line
    share: float | None = None  # of the tests or cases that passed
    seconds: float = 0.0
    stdout: str = ""  # of the case that failed, or of the last one
