"""A PostgreSQL cluster of the test's own, in a folder, over a socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

PROGRAMS = ("initdb", "pg_ctl", "postgres")
_FAST = "-c fsync=off -c synchronous_commit=on -c full_page_writes=off -c max_connections=60"
_PATIENT = "-c statement_timeout=120000 -c lock_timeout=120000"


def is_installed() -> bool:
    return all(map(shutil.which, PROGRAMS))


class Cluster:
    """A running cluster. stop, start: as if its machine went away and came back."""

    def __init__(self, folder: Path, options: str = _FAST) -> None:
        self.folder, self.options = folder, options
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "-N")

    @property
    def url(self) -> str:
        """With patience for a busy machine."""
        where = f"postgresql://postgres@/postgres?host={quote(str(self.folder))}"
        return f"{where}&connect_timeout=60&options={quote(_PATIENT)}"

    def start(self) -> None:
        sockets = f"-k {self.folder} -c listen_addresses="
        self._run("pg_ctl", "-D", self._data, "-w", "-o", f"{sockets} {self.options}", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")

    def signal(self, number: int) -> None:
        """To all of its processes."""
        main = (self.folder / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0]
        children = subprocess.run(["pgrep", "-P", main], capture_output=True, text=True).stdout
        for process in (main, *children.split()):
            os.kill(int(process), number)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, *command: str) -> None:
        log = self.folder / "log"
        with log.open("ab") as file:
            subprocess.run(
                command, check=True, cwd=self.folder, stdout=file, stderr=file, user=self._user
            )


@contextmanager
def cluster(options: str = _FAST) -> Iterator[Cluster]:
    # Not in a folder of pytest: a socket has a short path, and another user must reach it.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        running = Cluster(Path(folder), options)
        running.start()
        try:
            yield running
        finally:
            running.stop()
