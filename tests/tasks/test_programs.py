"""The checker of list programs: judged by hidden values, whatever the expression looks like."""

from __future__ import annotations

import json
import random
import re

import pytest

from understudy.tasks import FAMILIES, LEVELS, answer_of
from understudy.tasks.expression import ExpressionError, Value, evaluate
from understudy.tasks.family import Draft
from understudy.tasks.programs import _PROGRAMS

PROGRAMS = FAMILIES["programs"]
SOURCES = sorted({s.replace("K", k) for ps in _PROGRAMS.values() for s in ps for k in "2345"})
NAMES = {"sorted": sorted, "sum": sum, "len": len, "max": max, "min": min, "abs": abs}


def drafts(level: int, count: int) -> list[Draft]:
    rng = random.Random(level)
    return [PROGRAMS.draw(rng, level) for _ in range(count)]


def python(source: str, x: list[int]) -> Value:
    return eval(source, {"__builtins__": {}, **NAMES, "x": x})  # type: ignore[no-any-return]


@pytest.mark.parametrize("level", LEVELS)
def test_every_shipped_program_is_judged_as_python_would(level: int) -> None:
    for draft in drafts(level, 40):
        for source in SOURCES:
            tests = json.loads(draft.solution)
            agrees = all(python(source, x) == expected for x, expected in tests)
            assert PROGRAMS.check(source, draft.solution) == agrees, (source, draft)


@pytest.mark.parametrize("level", LEVELS)
def test_worked_programs_fit_the_examples_shown(level: int) -> None:
    for draft in drafts(level, 200):
        source = answer_of(draft.worked)
        assert source is not None
        examples = draft.prompt.split("; ")
        assert len(examples) == 2
        for example in examples:
            shown_input, shown_output = example.split(">")
            value = python(source, [int(number) for number in shown_input.split()])
            items = value if isinstance(value, list) else [value]
            assert shown_output == " ".join(str(item) for item in items)


@pytest.mark.parametrize("level", LEVELS)
def test_mutated_programs_fail_where_their_values_differ(level: int) -> None:
    rng = random.Random(f"mutants {level}")
    killed = 0
    for draft in drafts(level, 60):
        source = answer_of(draft.worked) or ""
        tests = json.loads(draft.solution)
        for _ in range(6):
            at = rng.randrange(len(source))
            mutant = source[:at] + rng.choice("0123456789+-*<>x[]():v") + source[at + 1 :]
            try:
                values = [evaluate(mutant, list(x)) for x, _ in tests]
                right = values == [expected for _, expected in tests]
            except ExpressionError:
                right = False
            assert PROGRAMS.check(mutant, draft.solution) == right
            killed += not right
    assert killed > 200  # most slips are wrong


def test_a_constant_does_not_pass_for_a_program() -> None:
    """The examples' outputs copied as a literal fit nothing hidden."""
    passed = 0
    for level in LEVELS:
        for draft in drafts(level, 60):
            output = draft.prompt.split("; ")[1].split(">")[1].split()
            literal = output[0] if len(output) == 1 else f"[{','.join(output)}]"
            passed += PROGRAMS.check(literal, draft.solution)
    assert passed <= 1


def test_the_value_must_have_the_right_type() -> None:
    solution = json.dumps([[[1, 2], 1]])
    assert PROGRAMS.check("x[0]", solution)
    assert not PROGRAMS.check("x[0]>0", solution)  # True equals 1 in Python
    assert not PROGRAMS.check("[x[0]]", solution)


def test_a_check_leaves_the_hidden_inputs_alone() -> None:
    """One expression, judged twice, is judged alike."""
    draft = drafts(5, 1)[0]
    source = answer_of(draft.worked) or ""
    assert [PROGRAMS.check(source, draft.solution) for _ in range(3)] == [True] * 3


def test_the_constant_of_a_program_is_filled_in() -> None:
    for level in LEVELS:
        for draft in drafts(level, 100):
            assert not re.search(r"K", draft.worked)
