"""How the judge and the program's process talk: values as plain data, in frames of JSON.

Nothing is unpickled.  What is plain data (numbers, text, lists, tuples, dicts, sets, ...) crosses
by value, subclasses as what they derive from: a list that claims to equal everything arrives as a
list.  Everything else stays where it is, and a number crosses for it.
"""

from __future__ import annotations

import json
import os
import struct
from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

HEADER = struct.Struct("!I")
SMALL = 1 << 53  # beyond, integers cross in hexadecimal: decimal digits take quadratic time

# Types whose values are rebuilt from their parts: the name, its parts, what rebuilds it.
PARTS: list[tuple[type, Callable[[Any], list[Any]], Callable[..., Any]]] = [
    (bytes, lambda value: [value.decode("latin-1")], lambda text: text.encode("latin-1")),
    (bytearray, lambda value: [value.decode("latin-1")], lambda t: bytearray(t, "latin-1")),
    (complex, lambda value: [value.real, value.imag], complex),
    (range, lambda value: [value.start, value.stop, value.step], range),
    (Fraction, lambda value: [value.numerator, value.denominator], Fraction),
    (Decimal, lambda value: [str(value)], Decimal),
    (datetime, lambda value: [value.isoformat()], datetime.fromisoformat),  # before date
    (date, lambda value: [value.isoformat()], date.fromisoformat),
    (time, lambda value: [value.isoformat()], time.fromisoformat),
    (timedelta, lambda value: [value.days, value.seconds, value.microseconds], timedelta),
]
REBUILD = {kind.__name__: rebuild for kind, _, rebuild in PARTS}
ROWS: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque
}  # fmt: skip
TYPES = [bool, int, float, str, list, tuple, dict, set, frozenset, type(None)]
TYPES += [kind for kind, _, _ in PARTS]
NAMED = {kind.__name__: kind for kind in TYPES}
MUTABLE = (list, dict, set, bytearray, deque)


class ClosedError(Exception):
    """The other side is gone, or speaks nonsense."""


def encode(value: Any, keep: Callable[[Any], dict[str, Any]]) -> Any:
    """keep: what crosses in place of a value that is no plain data."""
    if value is None or value is True or value is False or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        return int(value) if -SMALL < value < SMALL else {"int": [f"{value:x}"]}
    if isinstance(value, list):
        return [encode(each, keep) for each in value]
    if isinstance(value, dict):
        return {"dict": [[encode(k, keep), encode(v, keep)] for k, v in value.items()]}
    if isinstance(value, (tuple, set, frozenset, deque)):
        name = next(name for name, kind in ROWS.items() if isinstance(value, kind))  # type: ignore[arg-type]
        return {name: [encode(each, keep) for each in value]}
    for kind, parts, _ in PARTS:
        if isinstance(value, kind):
            return {kind.__name__: [encode(part, keep) for part in parts(value)]}
    if any(value is kind for kind in TYPES):  # as in f((4, 7.7), int)
        return {"type": [value.__name__]}
    return keep(value)


def decode(data: Any, kept: Callable[[str, Any], Any]) -> Any:
    """kept: the value that stands for a tag that is no plain data. Raises on anything malformed."""
    if isinstance(data, list):
        return [decode(each, kept) for each in data]
    if not isinstance(data, dict):
        return data
    ((tag, rows),) = data.items()
    if tag == "int":
        return int(rows[0], 16)
    if tag == "type":
        return NAMED[rows[0]]
    if tag == "dict":
        return {decode(key, kept): decode(value, kept) for key, value in rows}
    if tag in ROWS:
        return ROWS[tag]([decode(each, kept) for each in rows])
    if tag in REBUILD:
        return REBUILD[tag](*[decode(each, kept) for each in rows])
    return kept(tag, rows)


def frame(message: Any) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


def unframe(buffer: bytearray) -> Any:
    """Take the first message off the buffer; None while it is incomplete."""
    if len(buffer) < HEADER.size:
        return None
    end = HEADER.size + int(HEADER.unpack_from(buffer)[0])
    if len(buffer) < end:
        return None
    body = bytes(buffer[HEADER.size : end])
    del buffer[:end]
    return json.loads(body)


def send(file: int, message: Any) -> None:
    data = memoryview(frame(message))
    while data:
        data = data[os.write(file, data) :]


def receive(file: int) -> Any:
    return json.loads(read_exactly(file, HEADER.unpack(read_exactly(file, HEADER.size))[0]))


def read_exactly(file: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(file, min(count, 1 << 20))
        if not part:
            raise ClosedError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
