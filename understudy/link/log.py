"""The replies that crossed a link, on disk before they are used: what is paid is paid once."""

from __future__ import annotations

import errno
import io
import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import RunError
from understudy.types import Question, Reply


@dataclass(frozen=True, slots=True)
class Entry:
    """One call: what was asked, how many calls for it had failed before, and what came back."""

    question: Question
    attempt: int
    reply: Reply


class ReplyLog:
    """A file of JSON lines, one per call, failed ones too; lines are added and never changed.

    In memory there is only where each line ends. Opening drops a last line without its end: the
    process was killed writing it. The file is made by the first call. One process at a time; a run
    directory's lock sees to that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends = array("Q")  # of each line, in bytes from the file's beginning
        self._file: io.FileIO | None = None
        self._reader: io.FileIO | None = None
        try:
            if path.exists():
                self._find_lines()
        except OSError as error:
            raise self._unusable(error) from error

    def __len__(self) -> int:
        """The number of lines."""
        return len(self._ends)

    def entries(self) -> Iterator[Entry]:
        """All lines, read one by one."""
        for number in range(len(self)):
            yield self.read(number)

    def read(self, number: int) -> Entry:
        """The line of that number, from 0."""
        start = self._ends[number - 1] if number else 0
        try:
            if self._reader is None:
                self._reader = io.FileIO(self.path)
            line = os.pread(self._reader.fileno(), self._ends[number] - start, start)
        except OSError as error:
            raise self._unusable(error) from error
        return self._entry(number + 1, line)

    def append(self, entry: Entry) -> int:
        """Write one line; it has left this process when this returns. Returns its number, from 0.

        A process that is killed loses no line; a machine that loses its power may lose those
        since the last `flush_to_disk`.
        """
        asked = entry.question.to_json() | {"attempt": entry.attempt}
        line = json.dumps(asked | entry.reply.to_json()).encode() + b"\n"
        try:
            if self._file is None:
                self._file = io.FileIO(self.path, "a")
            self._write_whole(self._file, line)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written ({error}); it holds what was paid for, "
                "so make room, then continue with --resume"
            ) from error
        end = self._ends[-1] if self._ends else 0
        self._ends.append(end + len(line))
        return len(self) - 1

    def flush_to_disk(self) -> None:
        """Wait until every line would survive a loss of power."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        for file in (self._file, self._reader):
            if file is not None:
                file.close()
        self._file = self._reader = None

    def _find_lines(self) -> None:
        end = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    os.truncate(self.path, end)
                    break
                end += len(line)
                self._ends.append(end)

    def _write_whole(self, file: io.FileIO, line: bytes) -> None:
        start = os.fstat(file.fileno()).st_size
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        except OSError:
            file.truncate(start)  # half a line would spoil the next one
            raise

    def _entry(self, number: int, line: bytes) -> Entry:
        try:
            fields: dict[str, Any] = json.loads(line)
            question: dict[str, Any] = {
                name: fields.pop(name) for name in ("messages", "options") if name in fields
            }
            return Entry(
                Question.from_json(question), fields.pop("attempt"), Reply.from_json(fields)
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._unusable(f"line {number} is no reply: {error!r}") from error

    def _unusable(self, reason: object) -> RunError:
        return RunError(
            f"{self.path}: cannot be read ({reason}); it holds what was paid for, "
            "so restore it, or start a new run"
        )
