"""Worked examples that a small model is shown before a question: turns of the conversation.

A small instruct model hardly follows an instruction, but it goes on as it sees others do. What all
questions of a data set begin with is encoded once, so examples cost little. The cloud is asked
without them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from understudy.tasks.checker import Kind
from understudy.tasks.extract import MARK
from understudy.types import Problem, Turn

_MOST_LABELS = 12  # of which each is shown once
_FEW = 4  # to show the form, where labels are many
_PLAIN = 2
_REASONED: tuple[Kind, ...] = ("number", "mathematics")  # answered step by step


def usual_count(kind: Kind, labels: int, train: Sequence[Problem]) -> int:
    """How many examples are shown of a data set where nobody says."""
    if kind == "code":
        return 0  # a program is long, and its form is widely known
    if kind == "label":
        return labels if labels <= _MOST_LABELS else _FEW
    if kind in _REASONED and not all(map(shows_working, chosen_examples(train, _PLAIN))):
        return 0  # a model that sees others skip the working skips it too
    return _PLAIN


def shows_working(problem: Problem) -> bool:
    """Whether a worked answer says more than the solution and its mark."""
    left = problem.worked.replace(",", "")
    for part in (problem.solution.replace(",", ""), MARK, "\\boxed"):
        left = left.replace(part, "")
    return any(character.isalnum() for character in left)


def chosen_examples(train: Sequence[Problem], count: int) -> list[Problem]:
    """Short questions whose solutions differ as far as they can, in an order of their text alone.

    A question without a worked answer is no example.
    """
    left = sorted(_shorter(train, count), key=_luck)
    found: list[Problem] = []
    while left and len(found) < count:
        shown: set[str] = set()
        others: list[Problem] = []
        for problem in left:
            fresh = problem.solution not in shown and len(found) < count
            shown.add(problem.solution)
            (found if fresh else others).append(problem)
        left = others
    return found


def _shorter(train: Sequence[Problem], count: int) -> list[Problem]:
    """Of the solutions with the shortest questions a half, of each the shorter half of its
    questions; more where `count` needs them. A label whose questions are all long is there too."""
    by_solution: dict[str, list[Problem]] = {}
    for each in sorted((each for each in train if each.worked.strip()), key=_size):
        by_solution.setdefault(each.solution, []).append(each)
    kept = list(by_solution.values())[: max(len(by_solution) // 2, count)]
    least = count - len(kept) + 1  # of each: enough, however the others fall short
    return [each for column in kept for each in column[: max(len(column) // 2, least, 1)]]


def turns_of(examples: Sequence[Problem]) -> tuple[Turn, ...]:
    """Each as a question of the user and the assistant's answer."""
    return tuple(
        turn
        for each in examples
        for turn in (Turn("user", each.prompt), Turn("assistant", each.worked.strip()))
    )


def _size(problem: Problem) -> tuple[int, bytes]:
    return len(problem.prompt) + len(problem.worked), _luck(problem)


def _luck(problem: Problem) -> bytes:
    return hashlib.blake2b(f"example {problem.prompt}".encode(), digest_size=8).digest()
