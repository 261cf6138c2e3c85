"""What the models of this example are schooled on: real training questions, and variations of them.

GSM8K's worked answers carry their arithmetic as <<48/2=24>>. That is enough to change a question's
numbers and work the answer out anew: the same words, other sums, as often as wanted.
"""

from __future__ import annotations

import ast
import operator
import random
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from understudy.tasks.data import DataConfig, load_data
from understudy.types import Problem

Lesson = tuple[str, str]  # a prompt and its worked answer

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_SUM = re.compile(r"<<([^=<>]+)=([^<>]+)>>")
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LARGEST = 100_000


def read(data: Path, name: str) -> list[Problem]:
    """The training questions of a set, asked as its task asks them; validation stays unseen."""
    path = {"mbpp": data / "mbpp" / "mbpp.jsonl"}.get(name, data / name)
    return list(load_data(name, DataConfig(path=str(path))).questions["train"])


def plain(answer: str) -> str:
    """A worked answer without its arithmetic marks."""
    return re.sub(r"<<[^<>]*>>", "", answer)


@dataclass(frozen=True, slots=True)
class _Step:
    expression: ast.expr
    result: Fraction


def varied(question: str, answer: str, rng: random.Random) -> Lesson | None:
    """The same problem with other numbers; None where its arithmetic cannot be followed.

    A number is known by its value. Every operand must be a number of the question, an earlier
    result or a constant; results that were whole stay whole, and none falls to zero or below.
    """
    steps = _steps(answer)
    given = {_value(found) for found in _NUMBER.findall(question)}
    if not steps or not given:
        return None
    renewed = {old: _other(old, rng) for old in given}
    for step in steps:
        try:
            result = _worked(step.expression, renewed)
        except ZeroDivisionError:
            return None
        whole = step.result.denominator == 1
        if (whole and result.denominator != 1) or not 0 < result <= _LARGEST:
            return None
        if not whole and (result * 100).denominator != 1:
            return None
        if renewed.setdefault(step.result, result) != result:
            return None  # two quantities were equal by chance: which is meant is not known
    texts = (question, plain(answer))
    new_question, new_answer = (_NUMBER.sub(lambda m: _renewed(m[0], renewed), t) for t in texts)
    return new_question, new_answer


def _steps(answer: str) -> list[_Step]:
    steps = []
    for expression, result in _SUM.findall(answer):
        try:
            parsed = ast.parse(expression.replace(",", "").strip(), mode="eval").body
            step = _Step(parsed, _value(result.strip()))
            agrees = _worked(parsed, {}) == step.result
        except (SyntaxError, ValueError, ZeroDivisionError):
            return []
        if not agrees:
            return []
        steps.append(step)
    return steps


def _worked(node: ast.expr, renewed: dict[Fraction, Fraction]) -> Fraction:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        sides = _worked(node.left, renewed), _worked(node.right, renewed)
        return Fraction(_OPERATORS[type(node.op)](*sides))
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        value = _value(str(node.value))
        return renewed.get(value, value)
    raise ValueError("not plain arithmetic")


def _value(text: str) -> Fraction:
    return Fraction(text.replace(",", "").lstrip("$"))


def _other(value: Fraction, rng: random.Random) -> Fraction:
    """Another number of the same kind; ones and fractions are rarely quantities to change."""
    if value.denominator != 1 or value < 2 or value in (100, 1000):
        return value
    low, high = max(2, int(value) // 2), int(value) * 3 // 2 + 1
    step = 5 if value >= 20 and value % 5 == 0 else 1
    return Fraction(rng.randrange(low, high + 1) // step * step or step)


def _renewed(text: str, renewed: dict[Fraction, Fraction]) -> str:
    value = _value(text)
    new = renewed.get(value, value)
    if new == value:
        return text
    return str(int(new)) if new.denominator == 1 else f"{float(new):.2f}"
