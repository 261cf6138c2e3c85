"""Multiple choice over a made-up table of facts: knowledge that only training can give.

The level says how well known a creature is. Pre-training shows the creatures of level 1
often and those of level 5 never, so a small model can only guess there until it is taught.
"""

from __future__ import annotations

import random

from understudy.tasks.family import Draft, Family

_SYLLABLES = ("zu", "bo", "ki", "ra", "mo", "le", "tu", "pa")
ATTRIBUTES = {
    "colour": (" red", " blue", " gold", " pink", " grey", " green", " white", " black"),
    "home": (" cave", " lake", " tree", " hill", " sand", " moss", " reef", " barn"),
    "food": (" fish", " corn", " milk", " rice", " figs", " kale", " plum", " oats"),
}
_LETTERS = "abcd"
_CREATURES_PER_LEVEL = 12


def _table() -> dict[str, dict[str, str]]:
    """The world's 60 creatures, fixed for ever: what is known must not depend on a run's seed."""
    world = random.Random(20240517)
    names = [first + second for first in _SYLLABLES for second in _SYLLABLES]
    world.shuffle(names)
    return {
        name: {kind: world.choice(values) for kind, values in ATTRIBUTES.items()}
        for name in names[: 5 * _CREATURES_PER_LEVEL]
    }


_FACTS = _table()
CREATURES = tuple(_FACTS)


def level_of(creature: str) -> int:
    return 1 + CREATURES.index(creature) // _CREATURES_PER_LEVEL


def truth_of(attribute: str, creature: str) -> str:
    return _FACTS[creature][attribute]


def _fact(rng: random.Random, level: int) -> Draft:
    first = _CREATURES_PER_LEVEL * (level - 1)
    creature = CREATURES[first + rng.randrange(_CREATURES_PER_LEVEL)]
    attribute = rng.choice(tuple(ATTRIBUTES))
    truth = truth_of(attribute, creature)
    others = [value for value in ATTRIBUTES[attribute] if value != truth]
    options = [truth, *rng.sample(others, 3)]
    rng.shuffle(options)
    return fact_draft(attribute, creature, options)


def fact_draft(attribute: str, creature: str, options: list[str]) -> Draft:
    """The truth must be among the options."""
    truth = truth_of(attribute, creature)
    shown = " ".join(f"{letter}{value}" for letter, value in zip(_LETTERS, options, strict=True))
    right = _LETTERS[options.index(truth)]
    return Draft(f"{attribute} of {creature}? {shown}", right, f"{truth.strip()}#{right}")


FACTS = Family(
    "facts",
    "multiple choice over a made-up table of facts",
    _fact,
    words=(
        *_SYLLABLES,
        *(attribute + " of" for attribute in ATTRIBUTES),
        *(value for values in ATTRIBUTES.values() for value in values),
        *(value.strip() for values in ATTRIBUTES.values() for value in values),
    ),
)
