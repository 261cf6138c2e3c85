"""What is found by name: kinds that ship, and a stranger's 'module:Name' or 'path/to/file.py:Name'.

A seam's kinds are one `Registry`. Ours are lines of it, written as a stranger would write his own,
and nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError, UnderstudyError


class Registry:
    """The kinds of one seam.

    what: the setting that names a kind; known: name -> (module:Name, one line on what it is).
    """

    def __init__(self, what: str, known: Mapping[str, tuple[str, str]]) -> None:
        self.what, self.known = what, known

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def summary(self, name: str) -> str:
        return self.known[name][1]

    def load(self, name: str) -> Any:
        """A kind that ships, or the one at 'module:Name' or 'path/to/file.py:Name'."""
        if name in self.known:
            return named_function(self.what, self.known[name][0])
        if name.endswith(".py") and Path(name).is_file():
            raise ConfigError(f"{self.what}={name}: write {name}:Name, which of what is in it")
        if ":" not in name:
            near = difflib.get_close_matches(name.lower(), self.known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"{self.what}={name}: unknown; use {', '.join(self.known)}, "
                f"module:Name or path/to/file.py:Name{meant}"
            )
        return named_function(self.what, name)

    def make(self, name: str, *arguments: Any) -> Any:
        """One of a kind. What a stranger's raises as it is made is one line."""
        kind = self.load(name)
        try:
            return kind(*arguments)
        except UnderstudyError:
            raise
        except Exception as error:  # a class of the user's own may raise anything
            if name in self.known:
                raise
            raise ConfigError(f"{self.what} {name!r}: {reason_of(error)}") from error


def named_function(what: str, spec: str) -> Callable[..., Any]:
    """The function of that name. what: the setting's own name, with which a refusal begins."""
    where, mark, name = spec.rpartition(":")
    if not mark or not where or not name:
        raise ConfigError(f"{what} {spec!r}: write module:function or path/to/file.py:function")
    function = getattr(_module(what, spec, where), name, None)
    if function is None:
        raise ConfigError(f"{what} {spec!r}: {where} has no {name}")
    if not callable(function):
        raise ConfigError(
            f"{what} {spec!r}: {name} is of type {type(function).__name__}, no function"
        )
    found: Callable[..., Any] = function
    return found


def _module(what: str, spec: str, where: str) -> Any:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = Path(where).expanduser().resolve()
        written = path.stat()
        return _loaded(what, path, written.st_mtime_ns, written.st_size)
    except Exception as error:  # a module of the user's own may raise anything
        raise ConfigError(f"{what} {spec!r}: {reason_of(error)}") from error


@lru_cache(maxsize=64)
def _loaded(what: str, path: Path, changed: int, size: int) -> Any:
    """A file is run once as long as it is as it was: what it declares is the same each time."""
    name = f"understudy_{what}_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    found.loader.exec_module(module)
    return module


def reason_of(error: Exception) -> str:
    """What somebody's code raised, as one line, and where: the last line of it that is neither
    ours nor a library's."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_THEIRS)]
    return f"{reason} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else reason


_NOT_THEIRS = (  # where files of the user's own are not
    "<",
    str(Path(__file__).parent),
    *(path for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib"))),
)
