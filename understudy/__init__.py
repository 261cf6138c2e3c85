"""Small local models that keep learning and know when to ask a big cloud model, within a budget.

    import understudy

    run = understudy.train("understudy", out="runs/mine", stream="demo", budget=0.3)
    print(run.answer("3+4").text)

Everything named here is imported when it is first used; docs/python.md describes it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.api import (
        Answer,
        Cell,
        Cost,
        ExaminedQuestion,
        Options,
        Question,
        Run,
        TaskResult,
        Turn,
        UnderstudyError,
        compare,
        examine,
        export,
        federate,
        load,
        share,
        train,
    )

__version__ = "0.7.0"
__all__ = [
    "Answer",
    "Cell",
    "Cost",
    "ExaminedQuestion",
    "Options",
    "Question",
    "Run",
    "TaskResult",
    "Turn",
    "UnderstudyError",
    "compare",
    "examine",
    "export",
    "federate",
    "load",
    "share",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import understudy.api

    return getattr(understudy.api, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Package(ModuleType):
    """`understudy.share` and `understudy.federate` are packages and functions: the packages can be
    called."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("federate", "share") and isinstance(value, ModuleType):
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **settings: Any) -> Run:
        import understudy.api

        called = getattr(understudy.api, self.__name__.rpartition(".")[2])
        found: Run = called(*arguments, **settings)
        return found


sys.modules[__name__].__class__ = _Package
