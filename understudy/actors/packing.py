"""What crosses between processes and machines, and what is kept on disk, as bytes and back.

The form is safetensors: the arrays, and among them one of JSON that says what they are parts of.
Reading makes plain values and registered records (records.py) and nothing else: bytes of a stranger
execute nothing. Only from bytes that this user wrote (trusted) are kinds
rebuilt by a call, such as a network of the user's own, whose function the bytes name.
"""

from __future__ import annotations

import json
import typing
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from typing_extensions import TypedDict

from understudy.actors.records import REBUILT, RECORDS, registered
from understudy.errors import UnderstudyError
from understudy.link import carrier

for _each in (carrier.Parcel, carrier.Message, carrier.Outcome, carrier.Inbox, carrier.Traffic):
    registered(_each)
registered(carrier._Waiting)

_CONTENT = "content"  # the array of JSON
_PLAIN = (bool, int, float, str)
_COUNTS = range(2**53)  # what a whole number in a record may be
_DEEPEST = 100  # levels of values in values


class PackingError(UnderstudyError):
    """Bytes that hold nothing that was packed here."""


def packed(content: Any) -> bytes:
    """Plain values, lists, dictionaries, arrays and records, in one another."""
    writer = _Writer()
    tree = json.dumps(writer.tree(content), separators=(",", ":")).encode()
    return save(writer.arrays | {_CONTENT: torch.frombuffer(bytearray(tree), dtype=torch.uint8)})


def unpacked(blob: bytes, kind: Any = Any, trusted: bool = False) -> Any:
    """What was packed. kind: the type that it should have, as one writes it in an annotation."""
    try:
        arrays = load(blob)
        tree = json.loads(arrays.pop(_CONTENT).numpy().tobytes())
        content = _Reader(arrays, trusted).value(tree, 0)
    except (SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise PackingError(f"{len(blob)} bytes that cannot be read: {reason}") from error
    except UnderstudyError as error:  # a record that refuses its values
        raise PackingError(str(error)) from error
    if kind is Any:
        return content
    try:
        return _of_kind(kind).validate_python({"content": content})["content"]
    except ValidationError as error:
        found = f"a {type(content).__name__} came, but {kind} was wanted"
        raise PackingError(f"{found}: {_reason(error)}") from error


class _Writer:
    """The arrays of one content, each once however often it occurs."""

    def __init__(self) -> None:
        self.arrays: dict[str, Tensor] = {}
        self._names: dict[int, str] = {}

    def tree(self, value: Any) -> Any:
        if value is None or type(value) in _PLAIN:
            return value
        kind = type(value)
        if isinstance(value, Tensor):
            return ["array", self._name(value)]
        if kind in (list, tuple):
            return [kind.__name__, *(self.tree(each) for each in value)]
        if kind in (dict, Counter):
            return [kind.__name__, *([self.tree(k), self.tree(v)] for k, v in value.items())]
        if RECORDS.get(kind.__name__) is kind:
            parts = {each.name: getattr(value, each.name) for each in fields(value)}
            _checked(kind, parts)
            return [
                "record",
                kind.__name__,
                {name: self.tree(part) for name, part in parts.items()},
            ]
        known, parts_of = REBUILT.get(kind.__name__, (None, None))
        if known is kind and parts_of is not None:
            return ["rebuilt", kind.__name__, *(self.tree(part) for part in parts_of(value))]
        raise TypeError(f"{kind.__qualname__} is no plain value, array or registered record")

    def _name(self, array: Tensor) -> str:
        name = self._names.setdefault(id(array), str(len(self._names)))
        if name not in self.arrays:
            # Not a view: arrays that share memory are refused, and a view would bring all of it.
            self.arrays[name] = array.detach().cpu().clone(memory_format=torch.contiguous_format)
        return name


class _Reader:
    def __init__(self, arrays: Mapping[str, Tensor], trusted: bool) -> None:
        self.arrays, self.trusted = arrays, trusted
        self._rebuilt: dict[str, Any] = {}  # by what the bytes say: one that occurs twice is one

    def value(self, tree: Any, depth: int) -> Any:
        if tree is None or type(tree) in _PLAIN:
            return tree
        if depth > _DEEPEST or type(tree) is not list or not tree:
            raise ValueError("not the form of what is packed")
        kind, *parts = tree
        if kind == "array":
            return self.arrays[parts[0]]
        if kind == "rebuilt" and self.trusted:
            return self._again(tree, depth)
        if kind == "list":
            return list(self._all(parts, depth))
        if kind == "tuple":
            return tuple(self._all(parts, depth))
        if kind in ("dict", "Counter"):
            pairs = {self.value(k, depth + 1): self.value(v, depth + 1) for k, v in parts}
            return pairs if kind == "dict" else Counter(pairs)
        if kind == "record":
            return self._record(depth, *parts)
        raise ValueError(f"{str(kind)[:40]!r} is no form of what is packed")

    def _all(self, parts: list[Any], depth: int) -> Iterator[Any]:
        return (self.value(each, depth + 1) for each in parts)

    def _again(self, tree: list[Any], depth: int) -> Any:
        written = json.dumps(tree)
        if written not in self._rebuilt:
            _, name, *parts = tree
            self._rebuilt[written] = REBUILT[name][0](*self._all(parts, depth))
        return self._rebuilt[written]

    def _record(self, depth: int, name: str, parts: dict[str, Any]) -> Any:
        if name not in RECORDS:
            raise ValueError(f"{str(name)[:40]!r} is no record that is known here")
        values = {key: self.value(each, depth + 1) for key, each in parts.items()}
        return RECORDS[name](**_checked(RECORDS[name], values))


def _checked(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a record's fields, if they are all there and of the types annotated."""
    try:
        found = _fields_of(kind).validate_python(values)
    except ValidationError as error:
        raise ValueError(f"{kind.__name__}.{_reason(error)}") from None
    for name, value in found.items():
        if type(value) is int and value not in _COUNTS:
            raise ValueError(f"{kind.__name__}.{name}={value} is no count")
    checked: dict[str, Any] = found
    return checked


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}, not {str(first['input'])[:40]}"


@cache
def _fields_of(kind: type) -> TypeAdapter[Any]:
    return _strict(kind.__name__, typing.get_type_hints(kind))


@cache
def _of_kind(kind: Any) -> TypeAdapter[Any]:
    return _strict("Content", {"content": kind})


def _strict(name: str, hints: Mapping[str, Any]) -> TypeAdapter[Any]:
    """Takes these fields, all of them and no other, of exactly these types."""
    new_type: Any = TypedDict
    shape = new_type(name, dict(hints))
    shape.__pydantic_config__ = ConfigDict(
        strict=True, extra="forbid", arbitrary_types_allowed=True
    )
    return TypeAdapter(shape)
