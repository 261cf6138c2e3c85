"""LEAF's JSON as it comes: a user is a client.

    {"users": [..], "num_samples": [..], "user_data": {user: {"x": [..], "y": [..]}}}

A text is a string, or the fifth field of Sentiment140's rows (id, date, query, user, text). A
picture is a list of numbers, as FEMNIST has, whose square root is the side. A folder may hold many
such files; those in a folder or of a name with `test` are to test with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.errors import ConfigError
from understudy.federate.samples import SampleSet, numbered

_TEXT = 4  # the place of the text in a row of Sentiment140


def is_leaf(path: Path) -> bool:
    """Whether a JSON file, or the first of a folder's, has LEAF's form."""
    files = _files(path)
    return bool(files) and "user_data" in (_content(files[0]) or {})


def samples_of_leaf(path: Path, at_least: int = 1) -> SampleSet:
    """at_least: the samples that a user must have to be a client, of all files together."""
    x: list[Any] = []
    y: list[str] = []
    owners: list[str] = []
    held: list[bool] = []
    for file in _files(path):
        content = _content(file)
        within = file.relative_to(path) if path.is_dir() else Path(file.name)
        tested = any("test" in part.lower() for part in within.parts)
        for user, (given, labels) in _users(file, content):
            x += given
            y += labels
            owners += [user] * len(labels)
            held += [tested] * len(labels)
    counts: dict[str, int] = {}
    for owner in owners:
        counts[owner] = counts.get(owner, 0) + 1
    kept = [place for place, owner in enumerate(owners) if counts[owner] >= at_least]
    if not kept:
        raise ConfigError(
            f"data={path}: no user has {at_least} samples; the most that one has is "
            f"{max(counts.values(), default=0)}; set data_options.at_least lower"
        )
    raw = _raw(path, [x[place] for place in kept])
    classes, label = numbered([y[place] for place in kept])
    users, owner_of = numbered([owners[place] for place in kept])
    test = torch.tensor([held[place] for place in kept])
    divided = bool(test.any()) and not bool(test.all())
    return SampleSet(raw, label, classes, test if divided else None, owner_of, users)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".json" else []
    return sorted(path.rglob("*.json"))


def _content(file: Path) -> Any:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"data={file}: cannot be read ({error}); copy it again") from error
    return found if isinstance(found, dict) else None


def _users(file: Path, content: Any) -> list[tuple[str, tuple[list[Any], list[str]]]]:
    found = []
    try:
        for user in content["users"]:
            data = content["user_data"][user]
            given, labels = list(data["x"]), [str(each) for each in data["y"]]
            if len(given) != len(labels):
                raise ValueError(f"user {user} has {len(given)} x and {len(labels)} y")
            found.append((str(user), (given, labels)))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"data={file}: is not of LEAF's form ({type(error).__name__}: {error}); it needs users "
            "and user_data, with as many x as y for each user"
        ) from error
    return found


def _raw(path: Path, x: Sequence[Any]) -> Tensor | tuple[str, ...]:
    if all(isinstance(each, str) for each in x):
        return tuple(x)
    rows = [each for each in x if isinstance(each, list)]
    if len(rows) == len(x) and all(len(e) > _TEXT and isinstance(e[_TEXT], str) for e in rows):
        return tuple(each[_TEXT] for each in rows)
    try:
        pictures = torch.tensor(rows, dtype=torch.float32)
        side = math.isqrt(pictures.shape[1])
        if len(rows) != len(x) or side * side != pictures.shape[1]:
            raise ValueError(f"an x is {len(rows[0])} numbers, which make no square picture")
    except (ValueError, TypeError, IndexError) as error:
        raise ConfigError(
            f"data={path}: x is neither texts, nor rows of Sentiment140, nor square pictures "
            f"({error})"
        ) from error
    if float(pictures.min()) < 0 or float(pictures.max()) > 1:
        raise ConfigError(f"data={path}: pictures of LEAF have values from 0 to 1")
    return pictures.view(-1, 1, side, side)
