"""The ordinary public forms of data sets: what a row asks, and what answers it.

A reader takes one row as its publisher wrote it. A form of a user's own is read by naming the
columns (`read_columns`).
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.tasks.checker import Kind
from understudy.tasks.extract import LETTERS, boxed
from understudy.tasks.family import LEVELS, Split
from understudy.tasks.numbers import exact_number
from understudy.tasks.rows import Row


class FormError(Exception):
    """A row that is not of the form it is read as."""


class NoColumnError(FormError):
    """A row without a column that its form needs."""


class NoTestsError(FormError):
    """A row of the right form with nothing to check a program by; some sets have a few."""


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """A row, read: what becomes a problem once its data set is known."""

    prompt: str
    solution: str
    worked: str = ""
    level: int = 1
    columns: Mapping[str, Any] = field(default_factory=dict)
    split: Split | None = None  # where the row's own number says so, whatever file it stands in


@dataclass(frozen=True, slots=True)
class Form:
    """kind: how its answers are checked; summary: what a row holds."""

    kind: Kind
    summary: str
    read: Callable[[Row], ParsedRow]


def text_of(row: Row, *columns: str) -> str:
    """The first of these columns that the row has."""
    for column in columns:
        value = row.get(column)
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            return str(value)
    if there := [column for column in columns if column in row]:
        raise FormError(f"its {' and '.join(there)} {'is' if len(there) == 1 else 'are'} empty")
    raise NoColumnError(f"no column {' or '.join(columns)}; it has {', '.join(map(str, row))}")


def check_row(row: ParsedRow, kind: Kind) -> None:
    """Refuse a row that asks nothing, or whose solution no answer can match."""
    if not row.prompt.strip():
        raise FormError("its question is empty")
    solution = row.solution.strip()
    if kind == "code":
        return
    if not solution:
        raise FormError("its solution is empty")
    if kind == "number" and exact_number(solution, units=True) is None:
        raise FormError(f"its solution {solution[:40]!r} is no number, which checker number needs")
    if kind == "choice" and (len(solution) > 1 or solution not in LETTERS):
        raise FormError(
            f"its solution {solution[:40]!r} is no letter of an option, which checker choice needs"
        )


def _gsm8k(row: Row) -> ParsedRow:
    """`question`, and `answer`: reasoning with <<calculations>>, then '#### 18'."""
    answer = text_of(row, "answer")
    _, mark, solution = answer.rpartition("####")
    if not mark:
        raise FormError("answer has no '####'")
    steps = answer.count("<<")
    return ParsedRow(
        prompt=text_of(row, "question").strip(),
        solution=solution.strip().replace(",", ""),
        worked=re.sub(r"<<[^<>]*>>", "", answer).strip(),
        level=min(max(steps, LEVELS[0]), LEVELS[-1]),
        columns=row,
    )


def _math(row: Row) -> ParsedRow:
    r"""`problem`, `level` ('Level 3'), `type`, and `solution` with the answer in \boxed{}."""
    worked = text_of(row, "solution")
    solution = row.get("answer") or boxed(worked)
    if not solution:
        raise FormError("solution has no \\boxed{}")
    level = re.search("[1-5]", str(row.get("level", "")))
    return ParsedRow(
        prompt=text_of(row, "problem").strip(),
        solution=str(solution),
        worked=worked.strip(),
        level=int(level[0]) if level else 1,
        columns=row,
    )


def in_block(source: str) -> str:
    return f"```python\n{source.strip()}\n```"


def _mbpp(row: Row) -> ParsedRow:
    """`text` (`prompt` where sanitized), `code`, `test_list`, `test_setup_code`, `task_id`.

    The first assert is shown, so that the function's name is known; the others are not. Splits
    are by number as in its paper: 11-510 test, 511-600 validation.
    """
    tests = [str(test) for test in row.get("test_list") or ()]
    if not tests:
        raise FormError("test_list is empty")
    code, number = text_of(row, "code").replace("\r\n", "\n"), int(text_of(row, "task_id"))
    split: Split = "train"
    if 11 <= number <= 510:
        split = "test"
    elif 511 <= number <= 600:
        split = "validation"
    setup = [*(row.get("test_imports") or ()), row.get("test_setup_code") or ""]
    return ParsedRow(
        prompt=f"{text_of(row, 'text', 'prompt').strip()}\nIt should pass this test:\n{tests[0]}",
        solution=code,
        worked=in_block(code),
        columns={
            **row,
            "tests": tests,
            "setup": "\n".join(part.replace("\r\n", "\n") for part in setup if part),
            "entry": _defined(code),
        },
        split=split,
    )


def _defined(code: str) -> list[str]:
    """The functions and classes at the top of a program."""
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return []
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in body if isinstance(node, named)]


def _humaneval(row: Row) -> ParsedRow:
    """`prompt` (a signature and its docstring), `canonical_solution`, `test`, `entry_point`.

    All of it is for examination.
    """
    opening, entry = text_of(row, "prompt"), text_of(row, "entry_point")
    solution = opening + text_of(row, "canonical_solution")
    return ParsedRow(
        prompt=f"Complete this function:\n```python\n{opening.strip()}\n```",
        solution=solution,
        worked=in_block(solution),
        columns={
            **row,
            "opening": opening,
            "tests": [f"{text_of(row, 'test')}\ncheck({entry})"],
            "setup": _given(opening, entry),
            "entry": [entry],
        },
        split="test",
    )


def _given(opening: str, entry: str) -> str:
    """What the opening defines beside the entry, where it does: the tests check by it.

    HumanEval/32 asks whether `poly` is 0 at the root that was found: a `poly` of the answer's own
    could say so of any.
    """
    try:
        body = ast.parse(opening).body
    except SyntaxError:
        return ""
    defined = [node for node in body if isinstance(node, ast.FunctionDef) and node.name != entry]
    imported = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return "\n".join(map(ast.unparse, [*imported, *defined])) if defined else ""


_DIFFICULTY = {"EASY": 1, "MEDIUM": 2, "MEDIUM_HARD": 3, "HARD": 4, "VERY_HARD": 5}
_DIFFICULTY |= {"INTRODUCTORY": 1, "INTERVIEW": 3, "COMPETITION": 5}  # APPS


def _taco(row: Row) -> ParsedRow:
    """`question`, `input_output` (JSON), `solutions`, `starter_code`, `difficulty`; APPS too.

    A program reads stdin and writes stdout; where `fn_name` is given, a function is called.
    """
    given = row.get("input_output")
    cases = _parsed(given) if given else {}
    if not isinstance(cases, Mapping):
        raise FormError("input_output holds no inputs")
    if not cases.get("inputs"):
        raise NoTestsError("input_output is empty")
    pairs = list(zip(cases["inputs"], cases.get("outputs") or [], strict=False))
    if not pairs:
        raise NoTestsError("input_output holds no outputs")
    solutions, starter = _parsed(row.get("solutions")) or [], str(row.get("starter_code") or "")
    checks: dict[str, Any] = {"cases": [(_lines(given), _lines(out)) for given, out in pairs]}
    if name := cases.get("fn_name"):
        called = f"Solution().{name}" if "class Solution" in starter else name
        checks = {
            "tests": [_call_test(called, given, out) for given, out in pairs],
            "entry": [name, "Solution"],
        }
    prompt = text_of(row, "question").strip()
    return ParsedRow(
        prompt=f"{prompt}\n\nStart from:\n```python\n{starter.strip()}\n```" if starter else prompt,
        solution=solutions[0] if solutions else "",
        worked=in_block(solutions[0]) if solutions else "",
        level=_DIFFICULTY.get(str(row.get("difficulty", "")).upper(), 1),
        # The parsed cases are enough: these two hold most of the set's bytes.
        columns={k: v for k, v in row.items() if k not in ("input_output", "solutions")} | checks,
    )


def _parsed(value: Any) -> Any:
    """Lists inside a table are often JSON texts."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _lines(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _call_test(called: str, arguments: Any, output: Any) -> str:
    """An assert on one call. Some sets wrap an output in a list of one: both forms count."""
    wanted = [output, *output] if isinstance(output, list) and len(output) == 1 else [output]
    got = f"(lambda v: list(v) if isinstance(v, tuple) else v)({called}(*{arguments!r}))"
    return f"assert {got} in {wanted!r}"


def _choice(row: Row) -> ParsedRow:
    """ARC's `choices` {text, label} and `answerKey`, MMLU's `choices` and `answer` (a position),
    or ARC as `instruction` ('Answer1: ... Answer2: ...') and `answer` ('answer2').
    """
    if "instruction" in row:
        question, options, right = _instructed_choice(row)
    else:
        question, choices = text_of(row, "question"), _parsed(row.get("choices"))
        key = text_of(row, "answerKey", "answer").strip()
        if isinstance(choices, Mapping):
            options, labels = list(choices["text"]), [str(label) for label in choices["label"]]
            right = labels.index(key) if key in labels else -1
        elif isinstance(choices, Sequence):
            options = list(choices)
            right = int(key) if key.isdigit() else LETTERS.find(key)
        else:
            raise FormError("choices is neither a list nor {text, label}")
    if not 0 <= right < len(options) <= len(LETTERS):
        raise FormError(f"the answer is none of its {len(options)} options")
    shown = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))
    letter = LETTERS[right]
    return ParsedRow(f"{question.strip()}\n{shown}", letter, letter, 1, {**row, "options": options})


def _instructed_choice(row: Row) -> tuple[str, list[str], int]:
    """Its question, options and the position of the right one, out of the instruction's text."""
    text = text_of(row, "instruction").rpartition("\n\nAnswer format:")[0]
    text = text.removeprefix("Please choose the correct answer to the question:")
    question, *rest = re.split(r"\s*Answer([1-9]): ", text)
    options, numbers = [option.strip() for option in rest[1::2]], rest[::2]
    if numbers != [str(i + 1) for i in range(len(options))]:
        raise FormError("instruction has no 'Answer1: ... Answer2: ...'")
    return question, options, int(text_of(row, "answer").strip().removeprefix("answer") or 0) - 1


def _label(row: Row) -> ParsedRow:
    """A text (`text`, `sms`, `sentence`) and its `label`, `category` or `intent`."""
    label = text_of(row, "label_text", "category", "intent", "label").strip()
    return ParsedRow(text_of(row, "text", "sms", "sentence").strip(), label, label, 1, row)


FORMS: dict[str, Form] = {
    "gsm8k": Form("number", "question, answer ending in '#### n'", _gsm8k),
    "math": Form("mathematics", "problem, level, solution with \\boxed{}", _math),
    "mbpp": Form("code", "text, code, test_list, task_id", _mbpp),
    "humaneval": Form("code", "prompt, canonical_solution, test, entry_point", _humaneval),
    "taco": Form("code", "question, input_output, solutions, difficulty", _taco),
    "choice": Form("choice", "question, choices, answerKey or answer", _choice),
    "label": Form("label", "text, label or category", _label),
}


def read_columns(
    kind: Kind, prompt: str, solution: str, level: str | None
) -> Callable[[Row], ParsedRow]:
    """A reader of rows whose columns have these names.

    kind code: the solution column holds the tests: asserts as a list or one text, or stdin and
    stdout as {inputs, outputs}. kind choice: it holds the right letter.
    """

    def read(row: Row) -> ParsedRow:
        asked, text = text_of(row, prompt).strip(), text_of(row, solution)
        right: Any = row[solution]
        hardness = 1 if level is None else _level(text_of(row, level))
        if kind != "code":
            answer = text.strip()
            worked = f"#### {answer}" if kind == "number" else answer
            worked = f"\\boxed{{{answer}}}" if kind == "mathematics" else worked
            return ParsedRow(asked, answer, worked, hardness, row)
        parsed = _parsed(right) or right
        if isinstance(parsed, Mapping):
            cases = zip(parsed.get("inputs", ()), parsed.get("outputs", ()), strict=False)
            checks: dict[str, Any] = {"cases": [(_lines(a), _lines(b)) for a, b in cases]}
        elif not isinstance(parsed, str | list):
            raise FormError(f"{solution} {text!r} holds no tests: asserts, or inputs and outputs")
        else:
            checks = {"tests": [parsed] if isinstance(parsed, str) else list(map(str, parsed))}
        if not any(checks.values()):
            raise FormError(f"{solution} holds no tests")
        columns = {**row, "tests": (), "cases": (), **checks}
        return ParsedRow(asked, str(right), "", hardness, columns)

    return read


def _level(text: str) -> int:
    if text not in [str(level) for level in LEVELS]:
        raise FormError(f"level {text!r} is not one of 1 to 5")
    return int(text)
