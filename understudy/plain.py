"""Dataclasses as plain values, such as JSON holds, and back."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from understudy.errors import RunError

Record = TypeVar("Record")

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def to_plain(record: Any) -> Any:
    """Dictionaries, lists, numbers and text, under the names that the files have.

    A number that is not finite becomes None: JSON has none.
    """
    return _finite(_adapter(type(record)).dump_python(record, by_alias=True, mode="json"))


def from_plain(kind: type[Record], content: Any, file: object) -> Record:
    """What `to_plain` gave. Keys that the dataclass does not have are left out.

    file: where the content is from, for the refusal of what has another form.
    """
    try:
        record: Record = _adapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(
            f"{file}: cannot be read ({where}: {first['msg']}); finish the run with --resume"
        ) from error
    return record


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Built once: that takes far longer than to use it."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
