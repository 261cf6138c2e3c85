"""Word problems of one to three steps."""

from __future__ import annotations

import random

from understudy.tasks.family import Draft, Family

NAMES = ("tom", "ann", "sam", "eva", "max", "ida")
THINGS = (" pens", " eggs", " nuts", " cards", " books", " coins")
GAIN = (" gets", " buys", " finds")
LOSS = (" loses", " sells", " eats")
TIMES = " then"
LARGEST = {1: 9, 2: 20, 3: 20, 4: 30, 5: 50}
STEPS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3}
FIRST_WITH_TIMES = 4  # the easiest level that multiplies


def _story(rng: random.Random, level: int) -> Draft:
    name, thing, largest = rng.choice(NAMES), rng.choice(THINGS), LARGEST[level]
    first = have = rng.randint(1, largest)
    steps = []
    for _ in range(STEPS[level]):
        kind = rng.choice(("gain", "loss", "times")[: 3 if level >= FIRST_WITH_TIMES else 2])
        if kind == "times" and have <= 3 * largest:
            amount, verb = rng.randint(2, 3), TIMES
        elif kind == "loss" and have > 1:
            amount, verb = rng.randint(1, min(have, largest)), rng.choice(LOSS)
        else:
            amount, verb = rng.randint(1, largest), rng.choice(GAIN)
        steps.append((verb, amount))
        have = _after(have, verb, amount)
    return story_draft(name, first, thing, steps)


def story_draft(name: str, have: int, thing: str, steps: list[tuple[str, int]]) -> Draft:
    text, totals = f"{name} has {have}{thing}", []
    for verb, amount in steps:
        have = _after(have, verb, amount)
        text += f",{verb} {amount}" + (" times as many" if verb == TIMES else "")
        totals.append(str(have))
    return Draft(f"{text}. how many?", str(have), f"{','.join(totals[:-1])}#{have}")


def _after(have: int, verb: str, amount: int) -> int:
    if verb == TIMES:
        return have * amount
    return have + amount if verb in GAIN else have - amount


STORIES = Family(
    "stories",
    "word problems of one to three steps",
    _story,
    words=(*NAMES, *THINGS, *GAIN, *LOSS, " has", TIMES, " times as many", ". how many?"),
)
