"""Reading a question that somebody typed: the problem that a family would have made of it.

A reader takes a prompt of its family's form apart and has the family build the problem anew.
Only a prompt that comes out again to the letter is recognised. The level is the easiest whose
numbers reach as far; where none does, it is the hardest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import understudy.tasks.arithmetic as arithmetic
import understudy.tasks.calendar as calendar
import understudy.tasks.facts as facts
import understudy.tasks.programs as programs
import understudy.tasks.sequences as sequences
import understudy.tasks.stories as stories
import understudy.tasks.strings as strings
from understudy.tasks.expression import ExpressionError
from understudy.tasks.family import LEVELS, Draft
from understudy.types import Problem

_Found = tuple[int, Draft] | None  # the level and the problem

_LONGEST_PROMPT = 200
_NUMBER = "([0-9]{1,9})"  # as far as worked answers stay readable


def recognise(prompt: str) -> Problem | None:
    """The problem with its solution and worked answer; None for what no family asks."""
    if len(prompt) > _LONGEST_PROMPT:
        return None
    for family, read in _READERS.items():
        found = read(prompt)
        if found is not None and found[1].prompt == prompt:
            level, draft = found
            return Problem(prompt, draft.solution, family, level, draft.worked)
    return None


_CALCULATION = re.compile(
    rf"(?:what is |what's |how much is )?{_NUMBER} ?([+*-]) ?{_NUMBER}(?: ?= ?\?| ?=| ?\?)?"
)


def typed(text: str) -> str:
    """What a person typed, in the form in which the families ask it: without capitals, and a
    calculation without the words and blanks around it.

    >>> typed("What is 17 + 25?"), typed("Color of fox? a red b blue c green d white")
    ('17+25', 'color of fox? a red b blue c green d white')
    """
    bare = text.strip().lower()
    found = _CALCULATION.fullmatch(bare)
    return "".join(found.groups()) if found else bare


def _easiest(reaches: Callable[[int], bool]) -> int:
    return next((level for level in LEVELS if reaches(level)), LEVELS[-1])


def _one_of(words: Iterable[str]) -> str:
    return f"({'|'.join(words)})"


def _sum(prompt: str) -> _Found:
    match = re.fullmatch(f"{_NUMBER}([+-]){_NUMBER}", prompt)
    if match is None:
        return None
    a, sign, b = int(match[1]), match[2], int(match[3])
    if sign == "-" and a < b:  # differences never fall below zero
        return None
    level = _numbers_level(arithmetic.SUM_RANGES, a, b)
    return level, arithmetic.sum_draft(a, sign, b, level)


def _product(prompt: str) -> _Found:
    match = re.fullmatch(rf"{_NUMBER}\*{_NUMBER}", prompt)
    if match is None:
        return None
    a, b = int(match[1]), int(match[2])
    level = _numbers_level(arithmetic.PRODUCT_RANGES, a, b)
    return level, arithmetic.product_draft(a, b, level)


def _numbers_level(ranges: dict[int, tuple[int, int, int, int]], a: int, b: int) -> int:
    return _easiest(lambda level: a <= ranges[level][1] and b <= ranges[level][3])


_VERB = _one_of((*stories.GAIN, *stories.LOSS, stories.TIMES))
_CLAUSE = f",{_VERB} {_NUMBER}(?: times as many)?"
_STORY = re.compile(
    f"{_one_of(stories.NAMES)} has {_NUMBER}{_one_of(stories.THINGS)}"
    rf"((?:{_CLAUSE}){{1,{max(stories.STEPS.values())}}})\. how many\?"
)


def _story(prompt: str) -> _Found:
    match = _STORY.fullmatch(prompt)
    if match is None:
        return None
    name, have, thing = match[1], int(match[2]), match[3]
    steps = [(verb, int(amount)) for verb, amount in re.findall(_CLAUSE, match[4])]
    draft = stories.story_draft(name, have, thing, steps)
    if "-" in draft.worked:  # somebody loses more than they have
        return None
    largest = max(have, *(amount for _, amount in steps))
    times = any(verb == stories.TIMES for verb, _ in steps)

    def reaches(level: int) -> bool:
        enough = stories.STEPS[level] >= len(steps) and stories.LARGEST[level] >= largest
        return enough and (not times or level >= stories.FIRST_WITH_TIMES)

    return _easiest(reaches), draft


_OPERATION = _one_of(strings.OPERATIONS)
_STRING = re.compile(f"{_OPERATION}(?: {_OPERATION})? ([{strings.LETTERS}]{{2,}})")


def _string(prompt: str) -> _Found:
    match = _STRING.fullmatch(prompt)
    if match is None:
        return None
    operations = tuple(name for name in (match[1], match[2]) if name)
    text, composed = match[3], len(operations) > 1

    def reaches(level: int) -> bool:
        fits = composed == (level >= strings.FIRST_COMPOSED)
        return fits and len(text) <= strings.LENGTH[level]

    return _easiest(reaches), strings.string_draft(operations, text)


_INPUT = "((?:[0-9]{1,9} )*[0-9]{1,9})"
_EXAMPLES = re.compile(f"{_INPUT}>[0-9 ]*; {_INPUT}>[0-9 ]*")


def _program(prompt: str) -> _Found:
    """Several programs may fit; the first in order of level is as good as the one in mind."""
    examples = _EXAMPLES.fullmatch(prompt)
    if examples is None:
        return None
    inputs = [[int(number) for number in shown.split()] for shown in examples.groups()]
    for level, source in programs.known_programs():
        try:
            draft = programs.program_draft(source, inputs, inputs)
        except ExpressionError:  # too short for x[0], say
            continue
        if draft.prompt == prompt:
            return level, draft
    return None


def _unit(prompt: str) -> _Found:
    for unit in calendar.UNITS:
        large, small, ratio = unit
        match = re.fullmatch(f"{_NUMBER}{large}(?: {_NUMBER}{small})? in{small}", prompt)
        if match is None:
            continue
        count = int(match[1])
        if match[2] is None:
            return 1, calendar.unit_draft(unit, count)
        if 0 < (rest := int(match[2])) < ratio:
            return 2, calendar.mixed_units_draft(unit, count, rest)
    return None


def _weekday(prompt: str) -> _Found:
    match = re.fullmatch(rf"{_one_of(calendar.DAYS)} \+ {_NUMBER} days", prompt)
    if match is None:
        return None
    return 3, calendar.weekday_draft(calendar.DAYS.index(match[1]), int(match[2]))


def _clock(prompt: str) -> _Found:
    match = re.fullmatch(r"([0-9]{2}):([0-9]{2}) \+ ([0-9]{1,2}) min", prompt)
    if match is None:
        return None
    hour, minute, shift = (int(part) for part in match.groups())
    # The worked answer carries one hour at most, and not past midnight.
    if minute > 59 or shift > 59 or 60 * hour + minute + shift >= 24 * 60:
        return None
    return 4, calendar.clock_draft(hour, minute, shift)


def _date(prompt: str) -> _Found:
    months = _one_of(calendar.MONTHS)
    match = re.fullmatch(rf"([0-9]{{1,2}}) {months} \+ ([0-9]{{1,2}}) days", prompt)
    if match is None:
        return None
    day, month, shift = int(match[1]), calendar.MONTHS.index(match[2]), int(match[3])
    # The worked answer turns one month at most.
    if not 1 <= day <= calendar.LENGTHS[month] or shift > min(calendar.LENGTHS):
        return None
    return 5, calendar.date_draft(day, month, shift)


def _moment(prompt: str) -> _Found:
    return _unit(prompt) or _weekday(prompt) or _clock(prompt) or _date(prompt)


_FACT = re.compile("([a-z]+) of ([a-z]+)[?] a( [a-z]+) b( [a-z]+) c( [a-z]+) d( [a-z]+)")


def _fact(prompt: str) -> _Found:
    match = _FACT.fullmatch(prompt)
    if match is None:
        return None
    attribute, creature, *options = match.groups()
    if attribute not in facts.ATTRIBUTES or creature not in facts.CREATURES:
        return None
    different = len(set(options)) == len(options)
    known = different and set(options) <= set(facts.ATTRIBUTES[attribute])
    if not known or facts.truth_of(attribute, creature) not in options:
        return None
    return facts.level_of(creature), facts.fact_draft(attribute, creature, options)


def _sequence(prompt: str) -> _Found:
    match = re.fullmatch(f"next: {_NUMBER} {_NUMBER} {_NUMBER} {_NUMBER}", prompt)
    if match is None:
        return None
    first, second, *_ = terms = [int(term) for term in match.groups()]
    step, extra = second - first, second - 2 * first

    def reaches(level: int) -> bool:
        start, largest = sequences.RISING.get(level, (0, 0))
        return first <= start and step <= largest

    # No four terms but noughts follow two of the rules.
    rules: list[tuple[bool, int, Draft]] = [
        (step > 0, _easiest(reaches), sequences.rising_draft(first, step)),
        (step < 0 <= first + 4 * step, 3, sequences.falling_draft(first, -step)),
        (extra >= 0, 4, sequences.doubling_draft(first, extra)),
        (True, 5, sequences.adding_draft(first, second)),
    ]
    fitting = ((level, draft) for holds, level, draft in rules if holds and draft.prompt == prompt)
    return next(fitting, None) if any(terms) else None


_READERS: dict[str, Callable[[str], _Found]] = {
    "sums": _sum,
    "products": _product,
    "stories": _story,
    "strings": _string,
    "programs": _program,
    "calendar": _moment,
    "facts": _fact,
    "sequences": _sequence,
}
