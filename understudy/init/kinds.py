"""Of which kind the answers of a data set are: how they are going to be checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.tasks.checker import Kind
from understudy.tasks.extract import LETTERS
from understudy.tasks.numbers import exact_number

_MOST_LABELS, _ROWS_OF_A_LABEL = 100, 3  # more, or rarer ones: each answer is its own
_MOST_CLASSES, _ROWS_OF_A_CLASS = 10, 10  # numbers that stand for classes, as stars do
_LONGEST_LABEL = 60  # characters
_LONG_TEXT = 40
_OPTIONS = LETTERS[:6]
_TEX = re.compile(r"\\(?:boxed|d?frac|sqrt|pi)\b|\^\{")
_PROGRAM = re.compile(r"^\s*(?:def |class |import |from \w+ import |#include|function )", re.M)


@dataclass(frozen=True, slots=True)
class Guess:
    """why: what of the answers says so; doubt: what a person should know of it."""

    kind: Kind
    why: str
    doubt: str = ""


def kind_of_answers(values: Sequence[Any]) -> Guess:
    """By all answers of a data set, one of a row."""
    if all(map(_tests, values)):
        return Guess("code", "every answer is a test of a program")
    answers = [str(value).strip() for value in values]
    different, longest = len(set(answers)), max(map(len, answers))
    repeated = f"{different} different answers to {len(answers)} rows"
    if all(len(answer) == 1 and answer in _OPTIONS for answer in answers) and different > 1:
        return Guess("choice", f"every answer is a letter, {min(answers)} to {max(answers)}")
    if all(exact_number(answer, units=True) is not None for answer in answers):
        classes = all(answer.lstrip("-").isdecimal() for answer in answers)
        rows = _ROWS_OF_A_CLASS * different
        if classes and 1 < different <= _MOST_CLASSES and len(answers) >= rows:
            return Guess("label", f"{repeated}: numbers that stand for classes")
        return Guess("number", "every answer is a number")
    short = longest <= _LONGEST_LABEL and not any("\n" in answer for answer in answers)
    if short and 1 < different <= _MOST_LABELS and len(answers) >= _ROWS_OF_A_LABEL * different:
        return Guess("label", repeated)
    if sum(bool(_TEX.search(answer)) for answer in answers) * 2 > len(answers):
        return Guess("mathematics", "most answers are formulae")
    return _text(answers)


def _text(answers: Sequence[str]) -> Guess:
    if sum(bool(_PROGRAM.search(answer)) for answer in answers) * 2 > len(answers):
        return Guess(
            "text",
            "the answers are programs without tests",
            "a program is right here only if it is the same text; a column of asserts, and checker "
            "code, test it",
        )
    usual = sorted(map(len, answers))[len(answers) // 2]
    doubt = ""
    if usual > _LONG_TEXT:
        doubt = (
            f"answers of {usual} characters are seldom repeated to the letter; a reward function "
            "of your own can accept others (docs/data-sets.md)"
        )
    return Guess("text", "the answers are texts", doubt)


def _tests(value: Any) -> bool:
    """Asserts, as a text or a list of them, or {inputs, outputs}."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = json.loads(value)
        except ValueError:
            return False
    if isinstance(value, Mapping):
        return {"inputs", "outputs"} <= set(value)
    lines = value if isinstance(value, list) else str(value).strip().splitlines()
    return bool(lines) and all(str(line).lstrip().startswith("assert ") for line in lines)
