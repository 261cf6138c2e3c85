"""Judges one program. It holds the job, tests included, in a process that the program cannot see.

Test code runs here. Each name of the program's that a test uses stands for a value in the other
process: calls go there and plain data comes back, which is compared here, by Python's own `==`.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from understudy.sandbox.inside import wire
from understudy.sandbox.inside.connection import Connection, Files, Stop

Fields = dict[str, Any]
SHORT = 300  # characters of a detail


class ProgramError(Exception):
    """An exception of the program's that is no ordinary one of Python's."""


class Judge:
    def __init__(self, files: Files, wall: float, output: int) -> None:
        self.files, self.output = files, output
        self.line = Connection(files, wall, output)
        self.objects: dict[int, Remote] = {}
        self.callbacks: list[Any] = []

    def result(self, outcome: str, detail: str, **more: Any) -> Fields:
        return {
            "outcome": outcome,
            "detail": printable(detail)[:SHORT],
            "seconds": time.monotonic() - self.line.started,
            "stdout": self.line.text(self.files.stdout)[: self.output],
            **more,
        }

    # A case: the program runs as a program.

    def case(self, source: str, stdin: str) -> Fields:
        try:
            self.line.send({"source": source, "main": True})
            self.line.run_to_end(stdin.encode("utf-8", "surrogatepass"))
        except Stop as stop:
            return self.result(stop.outcome, stop.detail)
        return self.result(*self._left())

    def _left(self) -> tuple[str, str]:
        if self.line.status == "status 0\n":
            return "passed", ""
        if death := self.line.death():
            return death
        lines = self.line.text(self.files.stderr).split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        outcome = "memory" if last.startswith("MemoryError") else "error"
        return outcome, last or f"it left with {self.line.status.strip()}"

    # Tests: the program is asked for values.

    def tests(self, source: str, setup: str, tests: list[str], entry: list[str]) -> Fields:
        try:
            codes = [compile(test, f"<test {i}>", "exec") for i, test in enumerate(tests, start=1)]
            before = compile(setup, "<setup>", "exec")
            names, modules = wanted("\n".join([setup, *tests]), set(entry))
        except (SyntaxError, ValueError) as error:
            detail = f"a test or the setup is no Python: {error}"
            return self.result("sandbox", detail, again=False)
        passed, first = 0, None
        os.close(self.files.stdin)  # there is nothing to read
        try:
            self.line.send({"source": source, "main": False, "names": names})
            world = {"__name__": "tests", **self.defined(names), **modules}
            exec(before, world)
            for code, test in zip(codes, tests, strict=True):
                ending = self.attempt(code, world, " ".join(test.split()))
                passed += ending is None
                first = first or ending
            self.line.drain()
        except Stop as stop:
            first = first or (stop.outcome, stop.detail)
        except BaseException as error:
            first = first or outcome_of(error, "")
        outcome, detail = first or ("passed", "")
        return self.result(outcome, detail, share=passed / len(tests))

    def attempt(self, code: Any, world: Fields, test: str) -> tuple[str, str] | None:
        """Run one test: None if it passed, else outcome and detail."""
        try:
            exec(code, world)
        except Stop:
            raise
        except BaseException as error:
            return outcome_of(error, test)
        if self.line.stopped:  # and the test swallowed it
            raise self.line.stopped
        return None

    def defined(self, names: list[str]) -> dict[str, Any]:
        """What the program defines, of the names it was asked for and no others."""
        found = self.answer()
        if not isinstance(found, dict):
            raise self.line.stop("crashed", "it answered with what is no answer")
        return {name: found[name] for name in names if name in found}

    def ask(self, function: str, *args: Any, **kwargs: Any) -> Any:
        message = {
            "function": function,
            "args": [self.encode(value) for value in args],
            "kwargs": {name: self.encode(value) for name, value in kwargs.items()},
        }
        self.line.send(message)
        try:
            return self.answer(args)
        except StopIteration as error:
            if function == "next":
                raise
            # A test's own `all(map(..))` would take it for the end of its cases.
            raise ProgramError(f"StopIteration: {error}") from None

    def answer(self, args: tuple[Any, ...] = ()) -> Any:
        """The reply to the last request. Functions of the tests' may be called back before it."""
        while True:
            message = self.line.message()
            if "callback" in message:
                values = [self.decode(value) for value in message["args"]]
                result = self.callbacks[message["callback"]](*values)
                self.line.send({"result": self.encode(result)})
            elif "error" in message:
                raise exception(message)
            else:
                for value, data in zip(args, message.get("args", ()), strict=False):
                    become(value, self.decode(data))
                return self.decode(message["value"])

    def encode(self, value: Any) -> Any:
        def keep(value: Any) -> dict[str, Any]:
            if isinstance(value, Remote):
                return {"kept": number_of(value)}
            if not callable(value):
                raise TypeError(f"a {type(value).__name__} of the tests' cannot cross")
            self.callbacks.append(value)
            return {"callback": len(self.callbacks) - 1}

        return wire.encode(value, keep)

    def decode(self, data: Any) -> Any:
        def kept(tag: str, number: Any) -> Remote:
            if tag != "kept" or not isinstance(number, int):
                raise ValueError(f"no such kind of value: {tag}")
            return self.objects.setdefault(number, Remote(self, number))

        return wire.decode(data, kept)


class Remote:
    """An object of the program's. What it says of itself is believed about itself alone.

    It equals no plain data, whatever its `__eq__` would say, and has no `in`: Python then goes
    through its items and compares them here.
    """

    __slots__ = ("__judge", "__number")

    def __init__(self, judge: Judge, number: int) -> None:
        object.__setattr__(self, "_Remote__judge", judge)
        object.__setattr__(self, "_Remote__number", number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return ask(self, "call", *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return ask(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        ask(self, "setattr", name, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(value) if not isinstance(value := ask(self, "iter"), Remote) else value

    def __instancecheck__(self, value: Any) -> bool:
        return ask(self, "isinstance", value) is True if isinstance(value, Remote) else False

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Remote) and ask(self, "eq", other) is True)

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, Remote) or ask(self, "ne", other) is True


def ask(remote: Remote, function: str, *args: Any, **kwargs: Any) -> Any:
    judge: Judge = object.__getattribute__(remote, "_Remote__judge")
    return judge.ask(function, remote, *args, **kwargs)


def number_of(remote: Remote) -> int:
    number: int = object.__getattribute__(remote, "_Remote__number")
    return number


def _lend(function: str, among_objects: bool) -> None:
    def method(self: Remote, *args: Any) -> Any:
        if among_objects and not isinstance(args[0], Remote):
            return NotImplemented
        return ask(self, function, *args)

    setattr(Remote, f"__{function}__", method)


for _name in ("lt", "le", "gt", "ge"):
    _lend(_name, True)
for _name in ("len", "next", "str", "repr", "hash", "bool", "getitem", "setitem", "delitem"):
    _lend(_name, False)


def printable(text: str) -> str:
    """One line that no terminal obeys: a program chose some of these words."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def outcome_of(error: BaseException, test: str) -> tuple[str, str]:
    if isinstance(error, AssertionError):
        return "failed", f"wrong: {test}"
    text = f"{type(error).__name__}: {error}" if not isinstance(error, ProgramError) else str(error)
    kind = "memory" if isinstance(error, MemoryError) else "error"
    return kind, f"{text[: SHORT // 2]} in {test}" if test else text


def exception(message: Fields) -> Exception:
    """Python's own exception nearest to it; what would end the judge becomes an ordinary one."""
    name, own, text = (str(message.get(key, "")) for key in ("error", "kind", "text"))
    kind = getattr(builtins, name, None)
    try:
        if isinstance(kind, type) and issubclass(kind, Exception):
            return kind(text if own == name else f"{own}: {text}")
    except TypeError:  # it takes more than a text
        pass
    return ProgramError(f"{own}: {text}")


def become(value: Any, new: Any) -> None:
    """Change an argument as the program changed its copy."""
    if type(value) is not type(new):
        return
    if isinstance(value, (list, bytearray)):
        value[:] = new
    elif isinstance(value, deque):
        value.clear()
        value.extend(new)
    elif isinstance(value, (dict, set)):
        value.clear()
        value.update(new)


def wanted(tests: str, entry: set[str]) -> tuple[list[str], dict[str, Any]]:
    """The names to ask the program for, and the modules of Python's that the tests count on.

    A program must not lend the tests its own `sorted` or `math`.  Python's names are asked for
    only if they are named as the entry, or if the tests use nothing else of the program's.
    """
    nodes = list(ast.walk(ast.parse(tests)))
    loaded = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    own = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    own |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    own |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    bases = [node.value for node in nodes if isinstance(node, ast.Attribute)]
    based = {base.id for base in bases if isinstance(base, ast.Name)}
    modules = {}
    for name in sorted((based & sys.stdlib_module_names) - own - entry):
        with contextlib.suppress(ImportError):
            modules[name] = importlib.import_module(name)
    pythons = set(dir(builtins)) - entry
    rest = loaded - pythons - modules.keys()
    return sorted(rest if rest - own else rest | (loaded & pythons)), modules
