"""String transduction: reverse, sort, rotate, double and their compositions."""

from __future__ import annotations

import random
from collections.abc import Callable

from understudy.tasks.family import Draft, Family

# No vowels: a random string never spells a word of another family.
LETTERS = "bcdfghjk"
OPERATIONS: dict[str, Callable[[str], str]] = {
    "reverse": lambda s: s[::-1],
    "sort": lambda s: "".join(sorted(s)),
    "rotate": lambda s: s[1:] + s[0],
    "swap": lambda s: s[-1] + s[1:-1] + s[0],
    "unique": lambda s: "".join(dict.fromkeys(s)),
}
LENGTH = {1: 3, 2: 4, 3: 6, 4: 5, 5: 7}
FIRST_COMPOSED = 4  # the easiest level of two operations


def _string(rng: random.Random, level: int) -> Draft:
    text = "".join(rng.choices(LETTERS, k=LENGTH[level]))
    first = rng.choice(tuple(OPERATIONS))
    if level < FIRST_COMPOSED:
        return string_draft((first,), text)
    return string_draft((first, rng.choice([name for name in OPERATIONS if name != first])), text)


def string_draft(operations: tuple[str, ...], text: str) -> Draft:
    results = [text]
    for operation in operations:
        results.append(OPERATIONS[operation](results[-1]))
    prompt = f"{' '.join(operations)} {text}"
    return Draft(prompt, results[-1], f"{','.join(results[1:-1])}#{results[-1]}")


STRINGS = Family(
    "strings", "string transduction, one or two operations", _string, words=tuple(OPERATIONS)
)
