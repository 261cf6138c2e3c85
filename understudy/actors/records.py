"""Records that may cross between processes and machines, or lie on disk, by name.

    @registered
    @dataclass(frozen=True)
    class Update: ...

Only registered records are read from bytes; see packing.py. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeVar

RECORDS: dict[str, type] = {}

# Kinds that are made again by calling them with their parts. The call may run code that the bytes
# name, so they are read only from bytes that this user wrote.
REBUILT: dict[str, tuple[type, Callable[[Any], Sequence[Any]]]] = {}

Kind = TypeVar("Kind", bound=type)


def registered(kind: Kind) -> Kind:
    """A dataclass whose instances may be packed. Its annotations say what is accepted."""
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__qualname__} is no dataclass")
    _take_name(kind, RECORDS.get(kind.__name__))
    RECORDS[kind.__name__] = kind
    return kind


def register_rebuilt(kind: type, parts: Callable[[Any], Sequence[Any]]) -> None:
    """A kind that is packed as its parts: plain values and arrays with which it is called again."""
    _take_name(kind, REBUILT.get(kind.__name__, (None,))[0])
    REBUILT[kind.__name__] = (kind, parts)


def _take_name(kind: type, known: type | None) -> None:
    """A file that is loaded twice registers twice; two kinds of one name are refused."""
    if known is not None and _home(known) != _home(kind):
        raise TypeError(
            f"{'.'.join(_home(kind))}: a record {kind.__name__} is registered by "
            f"{known.__module__}; give it another name"
        )


def _home(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__
