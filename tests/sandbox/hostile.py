"""Programs that nobody would want to run: what each tries, and how it may end.

Every one is written so that it passes its tests if, and only if, it gets what it is after. Tokens
in capitals between @ are filled in by the test: a secret that stands in the tests alone, where
another secret lies on the machine, who listens there, and who judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from understudy.sandbox import Case, Program
from understudy.sandbox.records import Outcome

WRONG: tuple[Outcome, ...] = ("failed", "error")
GONE: tuple[Outcome, ...] = ("crashed",)
LATE: tuple[Outcome, ...] = ("timeout",)
BIG: tuple[Outcome, ...] = ("memory",)
LOUD: tuple[Outcome, ...] = ("output",)

SECRET = "assert answer() == @SECRET@"  # a number that no program is told
FOUND = "assert answer() == 'secret-@SECRET@'"  # as a text, so that one can look for it
ESCAPED = "assert escaped()"


@dataclass(frozen=True, slots=True)
class Hostile:
    source: str
    may: Sequence[Outcome] = WRONG  # or "timeout", as any program on a machine that is too busy
    tests: Sequence[str] = (SECRET,)
    cases: Sequence[Case] = ()

    def program(self, tokens: dict[str, str]) -> Program:
        def told(text: str) -> str:
            for token, value in tokens.items():
                text = text.replace(f"@{token}@", value)
            return text

        if self.cases:
            cases = [replace(case, stdout=told(case.stdout)) for case in self.cases]
            return Program(told(self.source), cases=cases)
        return Program(told(self.source), tests=[told(test) for test in self.tests])


def escaping(source: str, may: Sequence[Outcome] = WRONG) -> Hostile:
    """It defines `escaped`, which is true when it got out. What it does when defined counts too."""
    return Hostile(source, may, tests=[ESCAPED])


def raising(attempts: str, imports: str = "import os") -> Hostile:
    """One attempt a line: it got out if any of them raises nothing."""
    body = "".join(
        f"    try:\n        {attempt}\n        return True\n    except (OSError, ValueError):\n"
        "        pass\n"
        for attempt in attempts.strip().splitlines()
    )
    return escaping(f"{imports}\ndef escaped():\n{body}    return False\n")


def printing(source: str, may: Sequence[Outcome] = WRONG) -> Hostile:
    """It runs as a program, and should print the secret."""
    return Hostile(source, may, cases=[Case("", "@SECRET@")])
