"""The next number of a sequence."""

from __future__ import annotations

import random

from understudy.tasks.family import Draft, Family

RISING = {1: (30, 3), 2: (60, 9)}  # the largest start and step of a level


def _sequence(rng: random.Random, level: int) -> Draft:
    if level <= 2:
        largest_start, largest_step = RISING[level]
        return rising_draft(rng.randint(1, largest_start), rng.randint(1, largest_step))
    if level == 3:
        step = rng.randint(2, 12)
        return falling_draft(rng.randint(4 * step, 99), step)
    if level == 4:
        return doubling_draft(rng.randint(1, 30), rng.randint(0, 9))
    return adding_draft(rng.randint(1, 30), rng.randint(1, 30))


def _draft(terms: list[int], hint: str) -> Draft:
    """Five terms, the last of them hidden, and the rule in a few characters."""
    shown, following = terms[:-1], terms[-1]
    prompt = "next: " + " ".join(str(term) for term in shown)
    return Draft(prompt, str(following), f"{hint}#{following}")


def rising_draft(start: int, step: int) -> Draft:
    return _draft([start + step * i for i in range(5)], f"+{step}")


def falling_draft(start: int, step: int) -> Draft:
    return _draft([start - step * i for i in range(5)], f"-{step}")


def doubling_draft(start: int, extra: int) -> Draft:
    terms = [start]
    for _ in range(4):
        terms.append(2 * terms[-1] + extra)
    return _draft(terms, f"{2 * terms[3]},+{extra}")


def adding_draft(first: int, second: int) -> Draft:
    terms = [first, second]
    while len(terms) < 5:
        terms.append(terms[-1] + terms[-2])
    return _draft(terms, f"{terms[2]}+{terms[3]}")


SEQUENCES = Family(
    "sequences",
    "the next term: steps, doublings, sums of the last two",
    _sequence,
    words=("next:",),
)
