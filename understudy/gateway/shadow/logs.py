"""Logs read: files of JSON lines, plain or gzipped, or a gateway's own store."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO, cast

from understudy.errors import ConfigError
from understudy.gateway.shadow.formats import UnusableError, batch_pair, logged_call
from understudy.gateway.shadow.records import LeftOut, LoggedCall

_LONGEST_LINE = 32 * 2**20  # characters
_DATABASES = (".db", ".sqlite", ".sqlite3")
_GZIP = b"\x1f\x8b"


@dataclass(slots=True)
class Log:
    """Everything that was read: rows, what is usable of them, and why the rest is not."""

    rows: int = 0
    calls: list[LoggedCall] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def read_logs(places: Sequence[str]) -> Log:
    """Files, folders of them, and stores, together: a batch's input and output may lie in two."""
    reading = _Reading()
    for place in places:
        for name, number, row in _rows_of(place):
            reading.take(row, f"{name}:{number}")
    log = reading.finish()
    if not log.rows:
        raise ConfigError(f"{', '.join(places)}: there are no rows; give a log of JSON lines")
    if not log.calls:
        raise ConfigError(
            f"{', '.join(places)}: none of {log.rows} rows can be used: "
            + "; ".join(log.left_out.lines())
        )
    return log


class _Reading:
    """Joins batches, and leaves out what was logged twice."""

    def __init__(self) -> None:
        self.log = Log()
        self._ids: set[tuple[str, str]] = set()
        # By custom_id: a line of a batch that waits for its other half.
        self._asked: dict[str, tuple[Mapping[str, Any], str]] = {}
        self._answered: dict[str, tuple[Mapping[str, Any], str]] = {}

    def take(self, row: Any, place: str) -> None:
        self.log.rows += 1
        if isinstance(row, _Unreadable):
            self.log.left_out.add(row.reason, place)
        elif isinstance(row, Mapping) and isinstance(row.get("custom_id"), str):
            side = self._asked if "body" in row else self._answered
            if row["custom_id"] in side:
                self.log.left_out.add("were logged twice", place)
            side.setdefault(row["custom_id"], (row, place))
        else:
            self._use(partial(logged_call, row, place), place)

    def finish(self) -> Log:
        for name, (asked, place) in self._asked.items():
            if name not in self._answered:
                self.log.left_out.add("have no answer", place)
                continue
            answered, _ = self._answered.pop(name)
            self.log.rows -= 1  # two lines are one call
            self._use(partial(batch_pair, asked, answered, place), place)
        for _, place in self._answered.values():
            self.log.left_out.add("have an answer but no question", place)
        return self.log

    def _use(self, read: Callable[[], LoggedCall], place: str) -> None:
        try:
            call = read()
        except UnusableError as error:
            self.log.left_out.add(str(error), place)
            return
        if call.id and (call.id, call.digest) in self._ids:
            self.log.left_out.add("were logged twice", place)
            return
        self._ids.add((call.id, call.digest))
        self.log.calls.append(call)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    reason: str


def _rows_of(place: str) -> Iterator[tuple[str, int, Any]]:
    """(name, number of the line, row)."""
    if place.startswith("postgresql") or Path(place).suffix in _DATABASES:
        yield from _stored(place)
        return
    path = Path(place)
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if _is_log(each))
        if not files:
            raise ConfigError(f"{path}: has no .jsonl, .json or .gz file")
        for each in files:
            yield from _lines(each)
        return
    yield from _lines(path)


def _is_log(path: Path) -> bool:
    return path.is_file() and path.suffix in (".jsonl", ".ndjson", ".json", ".gz")


def _stored(url: str) -> Iterator[tuple[str, int, Any]]:
    from understudy.store.database import open_events
    from understudy.store.export import exported

    if "://" not in url:
        path = Path(url)
        url = str(path.with_name(path.name.replace("-events.", ".")))
    with closing(open_events(url, make=False)) as events:
        for number, row in enumerate(exported(events), start=1):
            yield Path(url).name, number, row


def _lines(path: Path) -> Iterator[tuple[str, int, Any]]:
    try:
        with _text_of(path) as file:
            first = file.read(1)
            file.seek(0)
            if first == "[":  # one JSON array
                yield from ((path.name, i, row) for i, row in enumerate(json.load(file), start=1))
                return
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if len(line) == _LONGEST_LINE and not line.endswith("\n"):
                    while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith("\n"):
                        pass
                    yield path.name, number, _Unreadable(f"are over {_LONGEST_LINE:,} characters")
                elif line.strip():
                    yield from _row(path, number, line)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read ({reason})") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is no JSON array ({error})") from None


def _text_of(path: Path) -> TextIO:
    """Opened, whether or not it is zipped."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == _GZIP
    if zipped:
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8", errors="replace"))
    return path.open(encoding="utf-8", errors="replace")


def _row(path: Path, number: int, line: str) -> Iterator[tuple[str, int, Any]]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        yield path.name, number, _Unreadable("are no JSON")
        return
    page = row.get("data") if isinstance(row, Mapping) and row.get("object") == "list" else None
    if isinstance(page, list):  # of a listing
        yield from ((path.name, number, each) for each in page)
    else:
        yield path.name, number, row
