"""String transduction: reverse, sort, rotate, double and their compositions."""

from __future__ import annotations

import random
from collections.abc import Callable

from understudy.tasks.family import Draft, Family

# No vowels: a random string never spells a word of another family.
_LETTERS = "bcdfghjk"
_OPERATIONS: dict[str, Callable[[str], str]] = {
    "reverse": lambda s: s[::-1],
    "sort": lambda s: "".join(sorted(s)),
    "rotate": lambda s: s[1:] + s[0],
    "swap": lambda s: s[-1] + s[1:-1] + s[0],
    "unique": lambda s: "".join(dict.fromkeys(s)),
}
_LENGTH = {1: 3, 2: 4, 3: 6, 4: 5, 5: 7}


def _string(rng: random.Random, level: int) -> Draft:
    text = "".join(rng.choices(_LETTERS, k=_LENGTH[level]))
    first = rng.choice(tuple(_OPERATIONS))
    result = _OPERATIONS[first](text)
    if level <= 3:
        return Draft(f"{first} {text}", result, f"#{result}")
    second = rng.choice([name for name in _OPERATIONS if name != first])
    final = _OPERATIONS[second](result)
    return Draft(f"{first} {second} {text}", final, f"{result}#{final}")


STRINGS = Family(
    "strings", "string transduction, one or two operations", _string, words=tuple(_OPERATIONS)
)
