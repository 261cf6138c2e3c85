"""Rows with a text or a picture, a label and perhaps whose they are: files, folders, the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from understudy.errors import ConfigError
from understudy.federate.samples import SampleSet, numbered
from understudy.federate.sources.pictures import pillow, resized, stacked
from understudy.tasks.rows import Row, rows_of_hub, rows_of_path

# Names that columns have in sets that are public, where none is given.
_TEXT = ("text", "sentence", "question", "content", "tweet", "sms", "review")
_PICTURE = ("image", "img", "picture")
_LABEL = ("label", "category", "intent", "class", "fine_label", "target", "labels")
_CLIENT = ("client", "client_id", "user", "user_id")
_HELD = ("test", "validation")


def samples_of_path(path: Path, header: Sequence[str] = (), **options: Any) -> SampleSet:
    """A csv, tsv, jsonl, json or parquet file, a folder of them, or what `save_to_disk` left.

    header: the columns of a csv or tsv file that does not name them.
    """
    return samples_of_rows(str(path), rows_of_path(path, header), **options)


def samples_of_hub(
    name: str, subset: str | None = None, revision: str | None = None, **options: Any
) -> SampleSet:
    return samples_of_rows(name, rows_of_hub(name, subset, revision), **options)


def samples_of_rows(
    name: str,
    splits: Mapping[str, Sequence[Row]],
    text: str | None = None,
    picture: str | None = None,
    label: str | None = None,
    client: str | None = None,
    size: int | None = None,
) -> SampleSet:
    """text or picture, label, client: the columns; size: to which pictures are made.

    The rows of a split test are to test with; without one, those of validation.
    """
    held_in = next((split for split in _HELD if splits.get(split)), "")
    used = {s: part for s, part in splits.items() if s == held_in or s not in _HELD}
    rows = [row for part in used.values() for row in part]
    if not rows:
        raise ConfigError(f"data={name}: has no rows")
    held = torch.tensor([split == held_in for split, part in used.items() for _ in part])
    columns = _Columns(name, rows)
    seen = columns.one("picture", picture, _PICTURE) if text is None else None
    read = None if seen else columns.one("text", text, _TEXT)
    labelled = columns.one("label", label, _LABEL)
    owner = columns.one("client", client, _CLIENT)
    if labelled is None or (seen is None and read is None):
        lacking = "label" if labelled is None else "text or picture"
        raise ConfigError(
            f"data={name}: which column is the {lacking}? It has {', '.join(map(str, rows[0]))}; "
            f"set data_options.{lacking.split()[0]}"
        )
    raw = columns.pictures(seen, size) if seen else tuple(columns.strings(str(read)))
    classes, number = numbered(columns.strings(labelled))
    users, user = numbered(columns.strings(owner)) if owner else ((), None)
    return SampleSet(raw, number, classes, held if held_in else None, user, users)


class _Columns:
    """The columns of some rows."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.name, self.rows = name, rows

    def one(self, what: str, asked: str | None, known: Sequence[str]) -> str | None:
        """The column that is asked for, or the first that is there under a known name."""
        if asked is not None and asked not in self.rows[0]:
            raise ConfigError(
                f"data_options.{what}={asked}: {self.name} has no such column; it has "
                f"{', '.join(map(str, self.rows[0]))}"
            )
        return asked or next((each for each in known if each in self.rows[0]), None)

    def strings(self, column: str) -> list[str]:
        found = []
        for number, row in enumerate(self.rows, start=1):
            value = row.get(column)
            if value is None or isinstance(value, dict | list):
                raise ConfigError(
                    f"data={self.name}: row {number} has no plain {column}, but {value!r:.60}"
                )
            found.append(str(value))
        return found

    def pictures(self, column: str, size: int | None) -> torch.Tensor:
        what = f"data={self.name}"
        library, found = pillow(what), []
        for number, row in enumerate(self.rows, start=1):
            picture = row.get(column)
            if not hasattr(picture, "convert"):
                raise ConfigError(
                    f"{what}: row {number} has no picture in {column}, but a "
                    f"{type(picture).__name__}"
                )
            found.append(picture if size is None else resized(library, picture, size))
        return stacked(what, found)
