"""The process in which a program runs. It holds nothing worth stealing.

For tests it answers the judge's requests to call what the program defines, with values.  For a
case it is the program: stdin, stdout, an exit status.
"""

from __future__ import annotations

import io
import operator
import os
import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from understudy.sandbox.inside import wire

APPLY: dict[str, Callable[..., Any]] = {
    "call": lambda function, *args, **kwargs: function(*args, **kwargs),
    **{f.__name__: f for f in (getattr, setattr, len, iter, next, str, repr, hash, bool)},
    "isinstance": lambda kind, value: isinstance(value, kind),
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{name: getattr(operator, name) for name in ("getitem", "setitem", "delitem")},
}


def run(control: int) -> None:
    """Never returns."""
    os.environ.clear()
    random.seed(0)  # every program draws the same numbers; a fork seeds it anew
    sys.argv[:] = ["program.py"]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), "utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), "utf-8")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w")), "utf-8", "backslashreplace", line_buffering=True
    )
    try:
        job = wire.receive(control)
        if job["main"]:
            os.close(control)
            leave(main(job["source"]))
        Subject(control).serve(job["source"], job["names"])
    except wire.ClosedError:
        leave(0)


def namespace(name: str) -> dict[str, Any]:
    """The globals of a new module that the interpreter knows by that name."""
    module = ModuleType(name)
    sys.modules[name] = module
    return module.__dict__


def main(source: str) -> int:
    import traceback

    try:
        exec(compile(source, "<program>", "exec"), namespace("__main__"))
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc(limit=-20)
        return 1
    return 0


def leave(status: int) -> None:
    """As Python itself would: wait for threads, run what was registered, flush."""
    import atexit
    import threading

    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        status = status or 1
    os._exit(status & 255)


class Subject:
    """The program's module, and the values that stay here while numbers stand for them."""

    def __init__(self, control: int) -> None:
        self.control = control
        self.kept: list[Any] = []
        self.numbers: dict[int, int] = {}  # by identity; `kept` holds the values alive

    def serve(self, source: str, names: list[str]) -> None:
        module = namespace("program")

        def define() -> dict[str, Any]:
            exec(compile(source, "<program>", "exec"), module)
            return {name: module[name] for name in names if name in module}

        self.reply(define)
        while True:
            request = wire.receive(self.control)
            self.reply(lambda request=request: self.apply(**request), request)  # type: ignore[misc]

    def apply(self, function: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        self.args = [self.decode(value) for value in args]
        return APPLY[function](
            *self.args, **{name: self.decode(value) for name, value in kwargs.items()}
        )

    def reply(self, function: Callable[[], Any], request: dict[str, Any] | None = None) -> None:
        """Answer with the value, with what became of the arguments, or with the exception."""
        try:
            message = {"value": self.encode(function())}
            if request and any(isinstance(value, wire.MUTABLE) for value in self.args):
                args = [self.encode(value) for value in self.args]
                if args != request["args"]:
                    message["args"] = args
        except BaseException as error:
            message = described(error)
        sys.stdout.flush()
        wire.send(self.control, message)

    def encode(self, value: Any) -> Any:
        return wire.encode(value, self.keep)

    def keep(self, value: Any) -> dict[str, Any]:
        number = self.numbers.setdefault(id(value), len(self.kept))
        if number == len(self.kept):
            self.kept.append(value)
        return {"kept": number}

    def decode(self, data: Any) -> Any:
        def kept(tag: str, number: Any) -> Any:
            return self.kept[number] if tag == "kept" else Callback(self, number)

        return wire.decode(data, kept)


class Callback:
    """A function of the tests', such as a lambda among the arguments."""

    def __init__(self, subject: Subject, number: int) -> None:
        self.subject, self.number = subject, number

    def __call__(self, *args: Any) -> Any:
        subject = self.subject
        outer = subject.args
        data = [subject.encode(value) for value in args]
        wire.send(subject.control, {"callback": self.number, "args": data})
        while True:
            message = wire.receive(subject.control)
            if "result" in message:
                subject.args = outer
                return subject.decode(message["result"])
            subject.reply(lambda message=message: subject.apply(**message), message)  # type: ignore[misc]


def described(error: BaseException) -> dict[str, Any]:
    """The nearest exception that Python itself defines, and a message if it can be had."""
    try:
        text = str(error)[:1000]
    except BaseException:
        text = ""
    builtin = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    return {"error": builtin.__name__, "kind": type(error).__name__, "text": text}
