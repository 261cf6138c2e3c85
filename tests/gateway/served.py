"""`understudy serve` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SECONDS = 120.0  # on a busy machine


def child_environment(**more: str) -> dict[str, str]:
    """Of a process that finds these tests, and whatever was found before."""
    places = (str(ROOT), os.environ.get("PYTHONPATH"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), **more}


@dataclass
class Process:
    url: str
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)  # standard output
    log: list[str] = field(default_factory=list)  # standard error

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(_SECONDS)


@contextmanager
def serving(
    *arguments: str, store: Path, environment: dict[str, str] | None = None
) -> Iterator[Process]:
    """Until it says where it listens."""
    command = [sys.executable, "-m", "understudy", "serve", "--port", "0", "--store", str(store)]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found = Process("", process)
    ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            found.said.append(line)
            if "serves at" in line:
                found.url = line.split()[3].rstrip(",")
                ready.set()
        ready.set()

    def follow() -> None:
        assert process.stderr is not None
        found.log.extend(process.stderr)

    threads = [threading.Thread(target=each, daemon=True) for each in (listen, follow)]
    for thread in threads:
        thread.start()
    try:
        assert ready.wait(_SECONDS)
        assert found.url, "".join(found.log)
        yield found
    finally:
        process.kill()
        process.wait()
        for thread in threads:
            thread.join(_SECONDS)
