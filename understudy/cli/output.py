"""Standard output that may be full or closed: what becomes of a log, and of a result."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO

from understudy.errors import UnderstudyError


class OutputError(UnderstudyError):
    """Standard output cannot be written; `closed`: its reader has gone."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written ({error.strerror})")
        self.closed = isinstance(error, BrokenPipeError)


class Output:
    """A stream that drops everything after its first failure.

    A result that cannot be written is an error. A log that cannot be written must not end a run:
    from `keep_going` on a failure is one line on standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._is_log = stream, False
        self._failure: OutputError | None = None  # raised again: whoever wrote may have caught it

    def keep_going(self) -> None:
        self._is_log = True

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        if self._failure is not None and not self._is_log:
            raise self._failure
        try:
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _fail(self, error: OSError) -> None:
        self._drop_the_rest()
        self._failure = OutputError(error)
        if not self._is_log:
            raise self._failure
        complain(f"warning: {self._failure}; the run goes on without it")

    def _drop_the_rest(self) -> None:
        """What is in the buffer would fail again, at the latest when Python ends."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def complain(line: str) -> None:
    """One line on standard error, which may be closed itself."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
