"""Word problems of one to three steps."""

from __future__ import annotations

import random

from understudy.tasks.family import Draft, Family

_NAMES = ("tom", "ann", "sam", "eva", "max", "ida")
_THINGS = (" pens", " eggs", " nuts", " cards", " books", " coins")
_GAIN = (" gets", " buys", " finds")
_LOSS = (" loses", " sells", " eats")
_LARGEST = {1: 9, 2: 20, 3: 20, 4: 30, 5: 50}
_STEPS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3}


def _story(rng: random.Random, level: int) -> Draft:
    name, thing, largest = rng.choice(_NAMES), rng.choice(_THINGS), _LARGEST[level]
    have = rng.randint(1, largest)
    text, totals = f"{name} has {have}{thing}", []
    for _ in range(_STEPS[level]):
        kind = rng.choice(("gain", "loss") if level < 4 else ("gain", "loss", "times"))
        if kind == "times" and have <= 3 * largest:
            factor = rng.randint(2, 3)
            have *= factor
            clause = f", then {factor} times as many"
        elif kind == "loss" and have > 1:
            amount = rng.randint(1, min(have, largest))
            have -= amount
            clause = f",{rng.choice(_LOSS)} {amount}"
        else:
            amount = rng.randint(1, largest)
            have += amount
            clause = f",{rng.choice(_GAIN)} {amount}"
        text += clause
        totals.append(str(have))
    return Draft(f"{text}. how many?", str(have), f"{','.join(totals[:-1])}#{have}")


STORIES = Family(
    "stories",
    "word problems of one to three steps",
    _story,
    words=(*_NAMES, *_THINGS, *_GAIN, *_LOSS, " has", " then", " times as many", ". how many?"),
)
