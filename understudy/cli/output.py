"""Standard output that may be full or closed: what becomes of a log, and of a result."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from understudy.errors import ConfigError, UnderstudyError


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


@contextlib.contextmanager
def new_file(path: Path, option: str) -> Iterator[TextIO]:
    """Nothing is written over, and nothing is left of what could not be finished."""
    is_new = not path.exists() or path.is_file() or path.is_dir()  # else a pipe or a device
    try:
        file = path.open("x" if is_new else "w", encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{option} {path}: is there already; give a new file's name") from None
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written ({error.strerror})") from None
    try:
        with file:
            yield file
    except BaseException as error:
        if is_new:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigError(f"{option} {path}: cannot be written ({error.strerror})") from None
        raise
