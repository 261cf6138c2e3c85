"""List programs: two examples are shown, the answer is a Python expression in `x`.

An answer is right when it gives the right value on inputs that were never shown.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from understudy.tasks.expression import ExpressionError, Value, evaluate
from understudy.tasks.family import Draft, Family

_PROGRAMS = {
    1: ("sorted(x)", "x[::-1]", "sum(x)", "max(x)", "min(x)", "x[1:]", "x[:-1]"),
    2: ("x[0]", "x[-1]", "x[::2]", "x+x", "sorted(x)[::-1]", "len(x)", "[v+1 for v in x]"),
    3: ("[v*2 for v in x]", "[v+K for v in x]", "[v for v in x if v>K]", "sum(x)-x[0]"),
    4: ("max(x)-min(x)", "sum(x[1:])", "sorted(x)[:2]", "[v*K for v in x]", "sorted(x)[-2]"),
    5: (
        "[v*2 for v in x if v>K]",
        "sum([v for v in x if v>K])",
        "sorted(x)[::-1][:2]",
        "[v-min(x) for v in x]",
        "sum(x)-max(x)",
        "[v+x[0] for v in x]",
    ),
}
_CONSTANTS = (2, 5)
_HIDDEN_INPUTS = 6


def _inputs(rng: random.Random) -> list[int]:
    return [rng.randint(0, 9) for _ in range(rng.randint(3, 5))]


def _shown(value: Value) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _program(rng: random.Random, level: int) -> Draft:
    source = rng.choice(_PROGRAMS[level]).replace("K", str(rng.randint(*_CONSTANTS)))
    examples = [_inputs(rng) for _ in range(2)]
    return program_draft(source, examples, [_inputs(rng) for _ in range(_HIDDEN_INPUTS)])


def program_draft(source: str, examples: list[list[int]], hidden: list[list[int]]) -> Draft:
    prompt = "; ".join(f"{_shown(x)}>{_shown(evaluate(source, x))}" for x in examples)
    tests = [[x, evaluate(source, x)] for x in hidden]
    return Draft(prompt, json.dumps(tests), f"#{source}")


def known_programs() -> Iterator[tuple[int, str]]:
    """Every program with its level, the easiest first."""
    low, high = _CONSTANTS
    for level, sources in _PROGRAMS.items():
        for source in sources:
            filled = (source.replace("K", str(k)) for k in range(low, high + 1))
            yield from ((level, program) for program in dict.fromkeys(filled))


def _passes(answer: str, solution: str) -> bool:
    """Whether the expression gives the right value, of the right type, on every hidden input."""
    for x, expected in json.loads(solution):
        try:
            value = evaluate(answer.strip(), list(x))
        except ExpressionError:
            return False
        if type(value) is not type(expected) or value != expected:
            return False
    return True


PROGRAMS = Family(
    "programs",
    "list programs: a Python expression that fits two examples",
    _program,
    _passes,
    words=("sorted", "sum", "len", "max", "min", " for v in x", " if v", "[::-1]", "(x)", "x["),
)
