"""Functions of the user's own, by name: 'package.module:function' or 'path/to/file.py:function'."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError


def named_function(what: str, spec: str) -> Callable[..., Any]:
    """The function of that name. what: the setting's own name, with which a refusal begins."""
    where, mark, name = spec.rpartition(":")
    if not mark or not where or not name:
        raise ConfigError(f"{what} {spec!r}: write module:function or path/to/file.py:function")
    function = getattr(_module(what, spec, where), name, None)
    if function is None:
        raise ConfigError(f"{what} {spec!r}: {where} has no {name}")
    if not callable(function):
        raise ConfigError(f"{what} {spec!r}: {name} is a {type(function).__name__}, no function")
    found: Callable[..., Any] = function
    return found


def _module(what: str, spec: str, where: str) -> Any:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = Path(where).expanduser().resolve()
        name = f"understudy_{what}_{path.stem}"
        found = importlib.util.spec_from_file_location(name, path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[name] = module  # dataclasses and pickle look a class's module up there
        found.loader.exec_module(module)
        return module
    except Exception as error:  # a module of the user's own may raise anything
        raise ConfigError(f"{what} {spec!r}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """What somebody's code raised, as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
