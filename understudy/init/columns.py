"""Which column of a table asks, and which one answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from understudy.errors import ConfigError
from understudy.tasks.rows import Row

# What people call them; the first that is there counts.
_ASKS = (
    "question",
    "prompt",
    "query",
    "problem",
    "input",
    "text",
    "instruction",
    "sentence",
    "message",
    "sms",
    "utterance",
    "task",
    "request",
)
_ANSWERS = (
    "answer",
    "solution",
    "label",
    "target",
    "output",
    "category",
    "class",
    "intent",
    "response",
    "reply",
    "completion",
    "expected",
    "result",
    "gold",
    "tests",
    "test_list",
)

# Asks a person which of some columns is meant; None: nobody is there.
Ask = Callable[[str, Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Columns:
    """why: how they were found, in words."""

    prompt: str
    solution: str
    why: str


def columns_of(
    rows: Sequence[Row], prompt: str | None, solution: str | None, ask: Ask | None
) -> Columns:
    """As given, else by their names, else by their content. A person is asked only where names do
    not tell."""
    names = _names(rows)
    for option, given in (("--prompt", prompt), ("--solution", solution)):
        if given is not None and given not in names:
            raise ConfigError(f"{option} {given}: no such column; there are {', '.join(names)}")
    if prompt is not None and prompt == solution:
        raise ConfigError(f"--prompt and --solution are both {prompt}; they must differ")
    if len(names) < 2:
        raise ConfigError(
            f"there is one column, {names[0]}; a data set needs two, a question and its answer"
        )
    if prompt is not None and solution is not None:
        return Columns(prompt, solution, "as given")
    asks = prompt or _named(names, _ASKS, {solution})
    answers = solution or _named(names, _ANSWERS, {asks})
    if asks is None and answers is not None:
        asks = _only(names, {answers})
    if answers is None and asks is not None:
        answers = _only(names, {asks})
    if asks is not None and answers is not None:
        return Columns(asks, answers, "by their names")
    if ask is not None:
        asks = asks or ask("Which column asks?", [each for each in names if each != answers])
        answers = answers or ask("Which column answers?", [each for each in names if each != asks])
        return Columns(asks, answers, "as given")
    asks, answers = _by_content(rows, names, asks, answers)
    return Columns(asks, answers, "by their content; --prompt and --solution name others")


def _names(rows: Iterable[Row]) -> list[str]:
    """Every column, in the order of the first row that has it."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def _named(names: Sequence[str], words: Sequence[str], taken: set[str | None]) -> str | None:
    """The column called by the first of the words; a word of its name counts less than all of it.

    >>> _named(["id", "Question", "gold_answer"], _ANSWERS, set())
    'gold_answer'
    """
    free = [name for name in names if name not in taken]
    for parts_of in (lambda name: [name.strip().lower()], _parts):
        for word in words:
            found = [name for name in free if word in parts_of(name)]
            if found:
                return found[0]
    return None


def _parts(name: str) -> list[str]:
    return re.split(r"[\W_]+", name.lower())


def _only(names: Sequence[str], taken: set[str]) -> str | None:
    left = [name for name in names if name not in taken]
    return left[0] if len(left) == 1 else None


def _by_content(
    rows: Sequence[Row], names: Sequence[str], asks: str | None, answers: str | None
) -> tuple[str, str]:
    """The longest texts ask; of the others, those that repeat most answer."""
    values: Mapping[str, list[str]] = {
        name: [str(row[name]) for row in rows if row.get(name) is not None] for name in names
    }
    if asks is None:
        free = [name for name in names if name != answers]
        asks = max(free, key=lambda name: sum(map(len, values[name])))
    if answers is None:
        free = [name for name in names if name != asks]
        answers = min(free, key=lambda name: (len(set(values[name])), -len(values[name])))
    return asks, answers
