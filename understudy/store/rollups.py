"""Sums of events by the minute, so that a day of many events stays quick to look at.

They are kept for single minutes, for every ten and for every hour, and written a second after the
events; those of the last moment before `kill -9` are lost. They hold no text, and stay when the
events of a key are deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete

from understudy.store.accounts import insert_of
from understudy.store.quantiles import bucket_of
from understudy.store.tables import rollup_times, rollups

SPANS = (1, 10, 60)  # minutes
_KEPT_MINUTES = {1: 2 * 1440, 10: 14 * 1440, 60: 400 * 1440}
_MOST = 2**62  # the databases' whole numbers have 64 bits

FIRST, WHOLE = "first", "whole"  # until the first token; until the answer was whole

_SUMS = ("requests", "asked", "tokens", "cloud_tokens", "dollars")
Row = Mapping[str, Any]


class Sums:
    """Of events that were inserted, until they are written."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Any, ...], list[int]] = {}
        self._times: dict[tuple[Any, ...], list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def count(self, rows: Iterable[Row]) -> None:
        """Rows of `events`."""
        for row in rows:
            minute = int(row["at"] // 60)
            amounts = _amounts(row)
            measured = [(WHOLE, row["seconds"]), (FIRST, row["first_token_seconds"])]
            if row["answered_by"] == "refused":
                measured = []
            buckets = [(name, bucket_of(each)) for name, each in measured if each is not None]
            for span in SPANS:
                when = (span, minute - minute % span)
                _count(self._sums, (*when, row["key"], row["answered_by"]), amounts)
                for name, bucket in buckets:
                    _count(self._times, (*when, name, row["answered_by"], bucket), [1])

    def write(self, connection: Connection) -> None:
        """Add them to what is there."""
        _write(connection, rollups, ("span", "start", "key", "answered_by"), _SUMS, self._sums)
        which = ("span", "start", "measure", "answered_by", "bucket")
        _write(connection, rollup_times, which, ("requests",), self._times)


def delete_old(connection: Connection, now: float) -> None:
    """Sums of single minutes that are older than two days, and so on."""
    for span, kept in _KEPT_MINUTES.items():
        for table in (rollups, rollup_times):
            old = (table.c.span == span) & (table.c.start < int(now // 60) - kept)
            connection.execute(delete(table).where(old))


def _amounts(row: Row) -> list[int]:
    return [
        1,
        int(row["asked"]),
        row["prompt_tokens"] + row["completion_tokens"],
        row["cloud_prompt_tokens"] + row["cloud_completion_tokens"],
        row["dollars"],
    ]


def _count(
    sums: dict[tuple[Any, ...], list[int]], key: tuple[Any, ...], amounts: list[int]
) -> None:
    before = sums.get(key)
    added = amounts if before is None else [a + b for a, b in zip(before, amounts, strict=True)]
    sums[key] = [min(each, _MOST) for each in added]


def _write(
    connection: Connection,
    table: Table,
    keys: Sequence[str],
    names: Sequence[str],
    sums: Mapping[tuple[Any, ...], list[int]],
) -> None:
    """In the order of their keys, so that replicas lock them in one order."""
    if not sums:
        return
    add = insert_of(table, connection)
    new = {name: table.c[name] + add.excluded[name] for name in names}
    rows = [
        dict(zip((*keys, *names), (*key, *amounts), strict=True))
        for key, amounts in sorted(sums.items())
    ]
    connection.execute(add.on_conflict_do_update(index_elements=list(keys), set_=new), rows)
