"""A family: one kind of generated, verifiable work at five levels of difficulty."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from understudy.types import Problem

Split = Literal["train", "validation", "test"]
LEVELS = (1, 2, 3, 4, 5)

# Sixteenths of the space of prompts; the rest is for training.
_TEST = range(0, 3)
_VALIDATION = range(3, 6)


@dataclass(frozen=True, slots=True)
class Draft:
    """A freshly drawn problem, before it is known which split it falls in."""

    prompt: str
    solution: str
    worked: str


def same_text(answer: str, solution: str) -> bool:
    return answer.strip() == solution


@dataclass(frozen=True, slots=True)
class Family:
    """What a kind of task is: how a problem is drawn and how an answer is checked."""

    name: str
    summary: str
    draw: Callable[[random.Random, int], Draft]
    check: Callable[[str, str], bool] = same_text
    words: tuple[str, ...] = ()  # whole words that deserve one token each


def split_of(family: str, prompt: str) -> Split:
    """The split a prompt belongs to, by its hash alone: disjoint whatever the seed."""
    digest = hashlib.blake2b(f"{family}\n{prompt}".encode(), digest_size=2).digest()
    sixteenth = digest[0] % 16
    if sixteenth in _TEST:
        return "test"
    return "validation" if sixteenth in _VALIDATION else "train"


def draw_problem(family: Family, level: int, split: Split, rng: random.Random) -> Problem:
    """Draw problems until one falls in the split."""
    while True:
        draft = family.draw(rng, level)
        if split_of(family.name, draft.prompt) == split:
            return Problem(draft.prompt, draft.solution, family.name, level, draft.worked)
