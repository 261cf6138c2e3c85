"""What crosses between processes and machines, and what is kept on disk, as bytes and back.

The form is safetensors: the arrays, and among them one of JSON which says what they are parts of.
Reading makes plain values and records of the kinds below and nothing else: whoever wrote the
bytes, nothing of theirs is executed. Only of what this user wrote (trusted) is a net of the user's
own made anew, which calls the function that it names.
"""

from __future__ import annotations

import json
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from understudy.errors import UnderstudyError
from understudy.link import carrier
from understudy.share import crew, learner, partition, penalties, training, wishes
from understudy.share.modes import modules
from understudy.share.nets import stacked
from understudy.share.nets.own import Own

_HOMES = (carrier, stacked, partition, learner, penalties, training, wishes, crew, modules)
RECORDS: dict[str, type] = {
    name: each
    for home in _HOMES
    for name, each in vars(home).items()
    if is_dataclass(each) and isinstance(each, type) and each.__module__ == home.__name__
}

_CONTENT = "content"  # the array of JSON
_PLAIN = (bool, int, float, str)
_COUNTS = range(2**53)  # what a whole number in a record may be
_DEEPEST = 100  # levels of values in values


class PackingError(UnderstudyError):
    """Bytes that hold nothing that was packed here."""


def packed(content: Any) -> bytes:
    """Plain values, lists, dictionaries, arrays and records, in one another."""
    writer = _Writer()
    told = json.dumps(writer.tree(content), separators=(",", ":")).encode()
    return save(writer.arrays | {_CONTENT: torch.frombuffer(bytearray(told), dtype=torch.uint8)})


def unpacked(blob: bytes, kind: Any = Any, trusted: bool = False) -> Any:
    """What was packed. kind: the type that it should have, as one writes it in an annotation."""
    try:
        arrays = load(blob)
        tree = json.loads(arrays.pop(_CONTENT).numpy().tobytes())
        content = _Reader(arrays, trusted).value(tree, 0)
    except (SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        said = str(error) or type(error).__name__
        raise PackingError(f"{len(blob)} bytes that cannot be read: {said}") from error
    except UnderstudyError as error:  # a record that refuses its values
        raise PackingError(str(error)) from error
    if not _is(content, kind):
        raise PackingError(f"a {type(content).__name__} came, but {kind} was wanted")
    return content


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
        if isinstance(value, Own):
            return ["net", value.spec, value.options, self._name(value.probe)]
        if kind in (list, tuple):
            return [kind.__name__, *(self.tree(each) for each in value)]
        if kind in (dict, Counter):
            return [kind.__name__, *([self.tree(k), self.tree(v)] for k, v in value.items())]
        if RECORDS.get(kind.__name__) is kind:
            _check(value)
            parts = {each.name: self.tree(getattr(value, each.name)) for each in fields(value)}
            return ["record", kind.__name__, parts]
        raise TypeError(f"{kind.__qualname__} is no plain value, array or record of packing.py")

    def _name(self, array: Tensor) -> str:
        name = self._names.setdefault(id(array), str(len(self._names)))
        if name not in self.arrays:
            # Not a view: arrays that share memory are refused, and a view would bring all of it.
            self.arrays[name] = array.detach().cpu().clone(memory_format=torch.contiguous_format)
        return name


class _Reader:
    def __init__(self, arrays: Mapping[str, Tensor], trusted: bool) -> None:
        self.arrays, self.trusted = arrays, trusted
        self._nets: dict[tuple[str, str, str], Own] = {}

    def value(self, tree: Any, depth: int) -> Any:
        if tree is None or type(tree) in _PLAIN:
            return tree
        if depth > _DEEPEST or type(tree) is not list or not tree:
            raise ValueError("not the form of what is packed")
        kind, *parts = tree
        if kind == "array":
            return self.arrays[parts[0]]
        if kind == "net" and self.trusted:
            return self._net(*parts)
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

    def _net(self, spec: str, options: str, probe: str) -> Own:
        key = (spec, options, probe)
        if key not in self._nets:
            self._nets[key] = Own(spec, options, self.arrays[probe])
        return self._nets[key]

    def _record(self, depth: int, name: str, parts: dict[str, Any]) -> Any:
        if name not in RECORDS:
            raise ValueError(f"{str(name)[:40]!r} is no record that is known here")
        wanted = {each.name for each in fields(RECORDS[name])}
        if set(parts) != wanted:
            raise ValueError(f"{name} has {', '.join(sorted(wanted))}, not {sorted(parts)[:20]}")
        made = RECORDS[name](**{key: self.value(each, depth + 1) for key, each in parts.items()})
        _check(made)
        return made


def _check(record: Any) -> None:
    kind: type = type(record)
    for name, hint in _hints(kind).items():
        value = getattr(record, name)
        if not _is(value, hint):
            raise ValueError(f"{type(record).__name__}.{name} is no {hint}: {str(value)[:40]}")
        if type(value) is int and value not in _COUNTS:
            raise ValueError(f"{type(record).__name__}.{name}={value} is no count")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of a type as it is written in an annotation."""
    origin, given = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in given
    if origin in (Union, types.UnionType):
        return any(_is(value, each) for each in given)
    if hint is float:
        return type(value) in (int, float)
    if origin is None:
        return type(value) is hint if hint in _PLAIN else isinstance(value, hint or type(None))
    if not isinstance(value, origin):
        return False
    if origin is tuple and given[-1:] != (Ellipsis,):
        return len(value) == len(given) and all(map(_is, value, given))
    if isinstance(value, Mapping):
        whole = given if len(given) == 2 else (given[0], int)  # a Counter's values are counts
        return all(_is(k, whole[0]) and _is(v, whole[1]) for k, v in value.items())
    return all(_is(each, given[0]) for each in value)
