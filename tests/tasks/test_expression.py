"""The closed interpreter: Python's values for its own programs, an error for everything else."""

from __future__ import annotations

import random
import sys
import time
import warnings
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from understudy.tasks.expression import ExpressionError, Value, evaluate
from understudy.tasks.programs import _PROGRAMS

SOURCES = sorted({s.replace("K", k) for ps in _PROGRAMS.values() for s in ps for k in "2345"})
# Trusted text, written here: forms that no shipped program uses but a model may try.
OTHERS = [
    "x",
    "7",
    "-3",
    "[]",
    "[1,2]+x",
    "x[-2:]",
    "x[1:-1:2]",
    "x[len(x)//2]",
    "[-v for v in x]",
    "[v%2 for v in x]",
    "[v-1 for v in x if v%2==0 if v!=4]",
    "[v*v for v in sorted(x)[::-1]]",
    "sum([1 for v in x if v<=3])",
    "abs(x[0]-x[-1])",
    "max(x)>5",
    "-(x[0]>3)",
    "len(x)==4",
    "sum(x)//len(x)",
    "sorted(x+x)[len(x)]",
    "[sum([v for v in x if v>2])+v for v in x]",
    "( ( (x) ) )",
    "x[::-1][0]",
    "x[x[0]>4]",
]
BUILTINS = {"sorted": sorted, "sum": sum, "len": len, "max": max, "min": min, "abs": abs}

HOSTILE = [
    # reaching out
    "x.append(1)",
    "x.__class__",
    "x.__class__.__mro__[1].__subclasses__()",
    "().__class__",
    "__import__('os')",
    "__builtins__",
    "open('f')",
    "eval('1')",
    "exec('1')",
    "getattr(x,'sort')",
    "globals()",
    "print(x)",
    "import os",
    "x;x",
    "x[0]=1",
    "del x",
    # other forms of Python
    "lambda:x",
    "(lambda v:v)(x)",
    "(y:=x)",
    "[y:=1,y]",
    "f'{x}'",
    "'a'*9",
    "b'a'",
    "1.5",
    "1e9",
    "1j",
    "True",
    "None",
    "...",
    "{}",
    "{1:2}",
    "{x}",
    "{[1]:2}",
    "()",
    "(1,2)",
    "x,x",
    "[*x]",
    "sum(*x)",
    "x if 1 else x",
    "x or x",
    "not x",
    "~x[0]",
    "+x[0]",
    "x is x",
    "1 in x",
    "1<2<3",
    "x==x",
    "x@x",
    "1<<9",
    "1/2",
    "(v for v in x)",
    "sum(v for v in x)",
    "{v for v in x}",
    "[v async for v in x]",
    "[w for w in x]",
    "[v for v in x for v in x]",
    "[[v] for v in x]",
    "await x",
    "yield",
    # names and calls
    "y",
    "v",
    "_",
    "sum",
    "sum(sum)",
    "map(abs,x)",
    "range(9)",
    "sum()",
    "sum(x,1)",
    "sorted(x,reverse=1)",
    "sum(x)(x)",
    "x(x)",
    "sum(3)",
    "abs(x)",
    "len(3)",
    "max([])",
    "min([])",
    # too large
    "9**9**9",
    "9**9",
    "9" * 119,
    "9" * 50_000,
    "999999*999999*999999",
    "x*1000000",
    "1000000*x",
    "[0]*1000000",
    "[" + "1," * 50_000 + "]",
    "'" + "a" * 100_000 + "'",
    "+".join(["x"] * 60),  # 300 items
    "sum([sum([sum([v for v in x+x]) for v in x+x+x+x+x]) for v in x+x+x+x+x+x+x+x])",
    "[sum([sum([sum([sum(x) for v in x]) for v in x]) for v in x+x]) for v in x+x+x+x+x]",
    # too deep
    "(" * 5000,
    "(" * 5000 + "x" + ")" * 5000,
    "-" * 5000 + "1",
    "[" * 5000 + "]" * 5000,
    "(" * 119,
    "[" * 119,
    "f(" * 59,
    "x" + "[0]" * 39,
    "sum(" * 28 + "x",
    # broken
    "",
    " ",
    " x +",
    "x[",
    "x[::0]",
    "x[99]",
    "x[0:x]",
    "x[1,2]",
    "1//0",
    "1%0",
    "\x00",
    "x\x00",
    "\ud800",
    "ｓum(ｘ)",  # Python would read it as sum(x)
    "х",  # a Cyrillic letter
    "x²",
    "٣",
    "\\",
    "x\\\n",
    "x\n",
    "x#y",
    "1if 1else 2",
    "0x1f",
    "1_0",
    "🐍",
    "\u202ex",
]


@pytest.mark.parametrize("source", SOURCES + OTHERS)
def test_values_and_types_are_pythons(source: str) -> None:
    rng = random.Random(source)
    for _ in range(50):
        x = [rng.randint(0, 9) for _ in range(rng.randint(3, 6))]
        expected = eval(source, {"__builtins__": {}, **BUILTINS, "x": x})
        kept = list(x)
        value = evaluate(source, x)
        assert value == expected
        assert type(value) is type(expected)
        assert x == kept


def outcome(source: str, x: list[int]) -> Value | ExpressionError:
    try:
        return evaluate(source, x)
    except ExpressionError as error:
        return error


def test_the_hostile_table_is_long() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 100


@pytest.mark.parametrize("source", HOSTILE, ids=lambda s: ascii(s[:30]))
def test_hostile_expressions_are_refused_at_once(source: str) -> None:
    x = [3, 1, 4, 1, 5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning per rollout would flood a training log
        times = []
        for _ in range(3):
            started = time.thread_time()
            result = outcome(source, x)
            times.append(time.thread_time() - started)
            assert isinstance(result, ExpressionError), result
    assert min(times) < 0.05
    assert x == [3, 1, 4, 1, 5]


def test_the_longest_lists_and_deepest_loops_end_quickly() -> None:
    bombs = ["sorted([v for v in sorted(x+x)])", "sum([sum(sorted(x)) for v in x])"]
    bombs += ["[sum(sorted(x)[::-1]+sorted(x)[::-1]) for v in x]", "[len(x+x+x+x) for v in x]"]
    for source in bombs:
        started = time.thread_time()
        outcome(source, list(range(64)))
        assert time.thread_time() - started < 0.2


def test_a_caller_deep_in_the_stack_gets_an_expression_error() -> None:
    """An expression that is fine on its own may not fit what is left of the stack."""

    def at_depth(frames: int) -> Value | ExpressionError:
        return at_depth(frames - 1) if frames else outcome("-" * 100 + "1", [1])

    used = len(_frames(sys._getframe))
    room = sys.getrecursionlimit() - used
    assert at_depth(0) == 1
    assert isinstance(at_depth(room - 60), ExpressionError)


def _frames(current: Callable[[], object]) -> list[object]:
    frame, found = current(), []
    while frame is not None:
        found.append(frame)
        frame = getattr(frame, "f_back", None)
    return found


PIECES = ["x", "v", "for", "in", "if", " ", "[", "]", "(", ")", ":", ",", "+", "-", "*", "//"]
PIECES += ["%", "<", ">", "==", "!=", "=", "sorted", "sum", "len", "max", "min", "abs", "0", "9"]
PIECES += ["1000000", "::-1", "[v for v in x", " if v>", "(x)", "x[", ".", "_", "'", "\\", "#", "é"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), st.lists(st.integers(0, 9)))
@example("[v for v in x if v]", [0, 1])
@example("x[::0]", [])
def test_text_of_the_language_has_a_value_or_an_expression_error(source: str, x: list[int]) -> None:
    result = outcome(source, x)
    assert isinstance(result, ExpressionError | int | list)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=130))
def test_any_text_has_a_value_or_an_expression_error(source: str) -> None:
    assert isinstance(outcome(source, [1, 2, 3]), ExpressionError | int | list)


def expressions() -> st.SearchStrategy[str]:
    """Well-formed numbers of the language, nested."""
    leaf = st.sampled_from(["x[0]", "sum(x)", "max(x)", "len(x)", "3", "0", "7"])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%", ">", "=="]), inner).map(
                lambda t: f"({t[0]}{t[1]}{t[2]})"
            ),
            inner.map(lambda e: f"sum([v*{e} for v in x if v>{e}])"),
            inner.map(lambda e: f"-{e}"),
            inner.map(lambda e: f"[{e},2][0]"),
        ),
        max_leaves=5,
    )


@settings(max_examples=200, deadline=None)
@given(expressions(), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_nested_expressions_agree_with_python(source: str, x: list[int]) -> None:
    result = outcome(source, x)
    try:
        expected = eval(source, {"__builtins__": {}, **BUILTINS, "x": x})
    except ZeroDivisionError:
        assert isinstance(result, ExpressionError)
        return
    if isinstance(result, ExpressionError):
        assert len(source) > 120 or "beyond" in str(result)
    else:
        assert result == expected
