"""The next number of a sequence."""

from __future__ import annotations

import random

from understudy.tasks.family import Draft, Family


def _sequence(rng: random.Random, level: int) -> Draft:
    terms, hint = _terms(rng, level)
    shown, following = terms[:-1], terms[-1]
    prompt = "next: " + " ".join(str(term) for term in shown)
    return Draft(prompt, str(following), f"{hint}#{following}")


def _terms(rng: random.Random, level: int) -> tuple[list[int], str]:
    """Five terms, the last of them hidden, and the rule in a few characters."""
    if level <= 2:
        start, step = rng.randint(1, 9 if level == 1 else 40), rng.randint(1, 3 * level)
        return [start + step * i for i in range(5)], f"+{step}"
    if level == 3:
        step = rng.randint(2, 12)
        start = rng.randint(4 * step, 99)
        return [start - step * i for i in range(5)], f"-{step}"
    if level == 4:
        start, ratio, extra = rng.randint(1, 9), 2, rng.randint(0, 5)
        terms = [start]
        for _ in range(4):
            terms.append(terms[-1] * ratio + extra)
        return terms, f"{terms[3] * ratio},+{extra}"
    terms = [rng.randint(1, 12), rng.randint(1, 12)]
    while len(terms) < 5:
        terms.append(terms[-1] + terms[-2])
    return terms, f"{terms[2]}+{terms[3]}"


SEQUENCES = Family(
    "sequences",
    "the next term: steps, doublings, sums of the last two",
    _sequence,
    words=("next:",),
)
