"""Rows of a data set in its ordinary public form: files, a folder of files, or the hub's name."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from understudy.errors import ConfigError
from understudy.registry import named_function, reason_of

Row = Mapping[str, Any]
WHOLE = "all"  # the split of a file that is not divided

_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def rows_of_path(path: Path, header: Sequence[str] = ()) -> dict[str, list[Row]]:
    """Split name -> rows, of a file or of a folder's files.

    A folder's files are told apart by the words of their names: train.jsonl, easy-test.json,
    test-00000-of-00001.parquet, train/algebra/1.json. A pattern chooses among them:
    arc/challenge-*.json. What `save_to_disk` of the datasets library
    left is read by it. header: the columns of a csv or tsv file that does not name them.
    """
    if any(character in path.name for character in "*?["):
        return _rows_of_files(sorted(path.parent.glob(path.name)), path, header)
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder")
    if path.is_file():
        return {_split_in(path.name): list(_read(path, header))}
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _by_split(_datasets().load_from_disk(str(path)))
    return _rows_of_files(sorted(path.rglob("*")), path, header)


def _rows_of_files(
    files: Sequence[Path], path: Path, header: Sequence[str]
) -> dict[str, list[Row]]:
    """Those with a data file's ending and a split's word in the name, or the only one."""
    files = [file for file in files if file.is_file() and _ending(file)]
    found: dict[str, list[Row]] = {}
    for file in files:
        split = _split_in(str(file.relative_to(path if path.is_dir() else path.parent)))
        if split != WHOLE or len(files) == 1:
            found.setdefault(split, []).extend(_read(file, header))
    if not found:
        raise ConfigError(
            f"{path}: no file is named after a split (train.jsonl, test.csv ...); "
            f"endings that are read: {', '.join(_ENDINGS)}, also with .gz"
        )
    return found


def rows_of_hub(name: str, subset: str | None, revision: str | None) -> dict[str, list[Row]]:
    """Split name -> rows, through the datasets library."""
    datasets = _datasets()
    try:
        return _by_split(datasets.load_dataset(name, subset, revision=revision))
    except Exception as error:  # it raises what its parts raise: network, disk, parsing
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"data set {name!r} cannot be loaded: {reason}") from error


def rows_of_function(what: str, spec: str) -> dict[str, list[Row]]:
    """Split name -> rows, of a function at 'module:name' or 'path/to/file.py:name'.

    It returns rows by the name of their split, or rows alone, which are then divided. what: the
    setting that names it.
    """
    function = named_function(what, spec)
    try:
        returned = function()
        if not isinstance(returned, Iterable):
            raise TypeError(f"it returned {returned!r}; return rows, or rows by their split")
        splits = returned if isinstance(returned, Mapping) else {WHOLE: returned}
        found = {str(split): list(rows) for split, rows in splits.items()}
    except Exception as error:  # a function of the user's own may raise anything
        raise ConfigError(f"{what} {spec!r}: {reason_of(error)}") from error
    for split, rows in found.items():
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, Mapping):
                kind = type(row).__name__
                of = "" if split == WHOLE else f" of {split}"
                raise ConfigError(
                    f"{what} {spec!r}: row {number}{of} is of type {kind}; return mappings"
                )
    return found


def _datasets() -> Any:
    try:
        return import_module("datasets")
    except ImportError:
        raise ConfigError(
            "the datasets library is not installed; pip install 'understudy[data]'"
        ) from None


def _by_split(loaded: Any) -> dict[str, list[Row]]:
    """Rows of a Dataset or DatasetDict; a class's number becomes its name."""
    splits = loaded.items() if isinstance(loaded, Mapping) else [(WHOLE, loaded)]
    result: dict[str, list[Row]] = {}
    for split, part in splits:
        names = {
            column: feature.names
            for column, feature in part.features.items()
            if hasattr(feature, "names")
        }
        result[str(split)] = [
            row | {column: _class_name(known, row[column]) for column, known in names.items()}
            for row in part
        ]
    return result


def _class_name(names: Sequence[str], number: Any) -> Any:
    return names[number] if isinstance(number, int) and 0 <= number < len(names) else number


def _ending(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    if name == "SMSSpamCollection":  # published without one
        return ".tsv"
    return next((ending for ending in _ENDINGS if name.endswith(ending)), "")


def _split_in(name: str) -> str:
    words = name.lower().replace("/", "-").replace("_", "-").replace(".", "-").split("-")
    found = {_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS}
    return found.pop() if len(found) == 1 else WHOLE


def _read(path: Path, header: Sequence[str]) -> Iterator[Row]:
    try:
        if _ending(path) == ".parquet":
            yield from _parquet(path)
            return
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.name.endswith(".gz")
            else path.open(encoding="utf-8-sig", newline="")
        ) as file:
            match _ending(path):
                case ".jsonl":
                    yield from _json_lines(file)
                case ".json":
                    yield from _json_rows(file.read())
                case ".csv":
                    yield from _table(csv.reader(file), header)
                case ".tsv":
                    yield from _table(_tabbed(file), header)
                case _:
                    raise ValueError(f"endings that are read: {', '.join(_ENDINGS)}")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is no UTF-8 text; save it as UTF-8") from None
    except (OSError, EOFError, csv.Error, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})".replace("\n", " ")) from error


def _json_lines(file: IO[str]) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield _row(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None


def _json_rows(text: str) -> Iterator[Row]:
    """A list of objects, an object under 'data', or one object: MATH has a file per problem."""
    content = json.loads(text)
    if isinstance(content, dict):
        content = content["data"] if isinstance(content.get("data"), list) else [content]
    if not isinstance(content, list):
        raise ValueError("a JSON data file is a list of objects")
    yield from (_row(item) for item in content)


def _row(item: Any) -> Row:
    if not isinstance(item, dict):
        raise ValueError(f"a row is an object, not {type(item).__name__}")
    return item


def _tabbed(file: IO[str]) -> Iterator[list[str]]:
    """Tab-separated lines as they are: a quotation mark in them is only a character.

    A line without a tab continues the one before, whose text was broken.
    """
    waiting: list[str] = []
    for line in file:
        cells = line.rstrip("\r\n").split("\t")
        if waiting and len(cells) == 1:
            waiting[-1] = f"{waiting[-1]} {cells[0]}".strip()
            continue
        if waiting:
            yield waiting
        waiting = cells if any(cells) else []
    if waiting:
        yield waiting


def _table(lines: Iterable[list[str]], header: Sequence[str]) -> Iterator[Row]:
    columns = list(header)
    for number, cells in enumerate(lines, start=1):
        if not columns:
            columns = _columns(cells)
            continue
        if not cells:
            continue
        if len(cells) != len(columns):
            raise ValueError(f"row {number} has {len(cells)} cells, not {len(columns)}")
        yield dict(zip(columns, cells, strict=True))


def _columns(cells: list[str]) -> list[str]:
    """The names that a first row gives to the columns."""
    if len(cells) == 1 and any(mark in cells[0] for mark in ";\t|"):
        raise ValueError(
            f"its first row is one cell, {cells[0][:40]!r}; write commas between the cells of a "
            ".csv, tabs between those of a .tsv"
        )
    if twice := [name for name, count in Counter(cells).items() if count > 1]:
        raise ValueError(f"column {twice[0]!r} stands there twice; rename one")
    return cells


def _parquet(path: Path) -> Iterator[Row]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigError(
            f"{path}: parquet is read by pyarrow, which is not installed; "
            "pip install 'understudy[data]'"
        ) from None
    yield from parquet.read_table(path).to_pylist()
