"""SQLite's flushes to the disk, beside what goes on: no request waits for them.

A commit appends to the write-ahead log. Once a second a thread flushes the log to the disk, so that
a loss of power loses a second at most. Now and then it copies the log into the database, which
SQLite by itself does within a commit. The first commit after that flushes the log's head, so it is
done seldom.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from understudy.errors import LedgerUnavailable
from understudy.store.ledger import Ledger

_EVERY_SECONDS = 1.0
_WORTH_TRANSACTIONS = 500  # about 8 MB of log

log = logging.getLogger(__name__)


class Checkpoints:
    """Of a ledger in a file of SQLite, until `stop`; for another one there is nothing to do."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        file = ledger.database.file
        if file is not None:
            self._log = Path(f"{file}-wal")
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        flushed = copied = 0
        while not self._stopped.wait(_EVERY_SECONDS):
            written = self._ledger.transactions
            try:
                if written != flushed:
                    self._flush()
                    flushed = written
                if written - copied >= _WORTH_TRANSACTIONS:
                    self._ledger.database.checkpoint()
                    copied = written
            except (LedgerUnavailable, OSError) as error:
                log.warning("%s: not flushed to the disk (%s)", self._log, error)

    def _flush(self) -> None:
        # Only the log: closing the database's own file would give up SQLite's locks on it.
        file = os.open(self._log, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
