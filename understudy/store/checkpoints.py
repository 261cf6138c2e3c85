"""SQLite's checkpoints, beside what goes on: they flush to the disk, and no request waits for them.

A commit appends to the write-ahead log. By itself SQLite copies the log into the database within a
commit, every thousand pages, which is every hundred requests or so. Here a thread does that.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from understudy.errors import LedgerUnavailable
from understudy.store.database import Database

_EVERY_SECONDS = 1.0
_WORTH_BYTES = 256 * 1024

log = logging.getLogger(__name__)


class Checkpoints:
    """Of a file of SQLite, until `stop`; of another database there is nothing to do."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        file = database.engine.url.database
        if database.is_sqlite and file and file != ":memory:":
            self._log = Path(f"{file}-wal")
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_SECONDS):
            try:
                if self._log.stat().st_size >= _WORTH_BYTES:
                    self._database.checkpoint()
            except FileNotFoundError:
                continue
            except (LedgerUnavailable, OSError) as error:
                log.warning("no checkpoint now: %s", error)
