"""Solutions held against slow, independent solvers that read nothing but the prompt."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest

from understudy.tasks import FAMILIES, LEVELS, answer_of
from understudy.tasks.facts import _FACTS, _LETTERS
from understudy.tasks.family import Draft

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
IN_MINUTES = {"min": 1, "hours": 60, "days": 1440, "weeks": 10080}


def arithmetic(prompt: str) -> str:
    left, sign, right = re.fullmatch(r"(\d+)([-+*])(\d+)", prompt).groups()  # type: ignore[union-attr]
    a, b = int(left), int(right)
    return str({"+": a + b, "-": a - b, "*": a * b}[sign])


def story(prompt: str) -> str:
    """Clause by clause, by the verb alone."""
    first, *clauses = prompt.removesuffix(". how many?").split(",")
    name, thing_count = re.fullmatch(r"(\w+) has (\d+ \w+)", first).groups()  # type: ignore[union-attr]
    assert name.isalpha()
    have = int(thing_count.split()[0])
    for clause in clauses:
        if times := re.fullmatch(r" then (\d+) times as many", clause):
            have *= int(times[1])
            continue
        verb, amount = clause.split()
        sign = {"gets": 1, "buys": 1, "finds": 1, "loses": -1, "sells": -1, "eats": -1}[verb]
        have += sign * int(amount)
        assert have >= 0
    return str(have)


def moment(prompt: str) -> str:
    if match := re.fullmatch(r"(\w{3}) \+ (\d+) days", prompt):
        monday = date(2024, 1, 1)
        start = monday + timedelta(days=DAYS.index(match[1]))
        return DAYS[(start + timedelta(days=int(match[2]))).weekday()]
    if match := re.fullmatch(r"(\d\d:\d\d) \+ (\d+) min", prompt):
        clock = datetime.strptime(match[1], "%H:%M")
        later = clock + timedelta(minutes=int(match[2]))
        assert later.day == clock.day
        return later.strftime("%H:%M")
    if match := re.fullmatch(r"(\d+) (\w{3}) \+ (\d+) days", prompt):
        start = date(2023, MONTHS.index(match[2]) + 1, int(match[1]))
        later = start + timedelta(days=int(match[3]))
        return f"{later.day} {MONTHS[later.month - 1]}"
    quantity, unit = re.fullmatch(r"(.+) in (\w+)", prompt).groups()  # type: ignore[union-attr]
    parts = re.findall(r"(\d+) (\w+)", quantity)
    total = sum(int(count) * IN_MINUTES[each] for count, each in parts)
    assert total % IN_MINUTES[unit] == 0
    return str(total // IN_MINUTES[unit])


def transduction(prompt: str) -> str:
    *operations, text = prompt.split()
    letters = list(text)
    for operation in operations:
        if operation == "reverse":
            letters.reverse()
        elif operation == "sort":
            letters.sort()
        elif operation == "rotate":
            letters.append(letters.pop(0))
        elif operation == "swap":
            letters[0], letters[-1] = letters[-1], letters[0]
        else:
            assert operation == "unique"
            letters = [c for i, c in enumerate(letters) if c not in letters[:i]]
    return "".join(letters)


def following(prompt: str) -> set[str]:
    """The next term under each rule that fits all four shown."""
    terms = [int(term) for term in prompt.removeprefix("next: ").split()]
    a, b, c, d = terms
    found = set()
    if b - a == c - b == d - c:
        found.add(str(2 * d - c))
    if {b - 2 * a, c - 2 * b, d - 2 * c} == {b - 2 * a}:
        found.add(str(2 * d + b - 2 * a))
    if c == a + b and d == b + c:
        found.add(str(c + d))
    return found


def fact(prompt: str) -> str:
    attribute, creature, options = re.fullmatch(r"(\w+) of (\w+)\? (.*)", prompt).groups()  # type: ignore[union-attr]
    letters = re.findall(r"\b([a-d]) (\w+)", options)
    assert [letter for letter, _ in letters] == list(_LETTERS)
    assert len({value for _, value in letters}) == 4
    truth = _FACTS[creature][attribute].strip()
    return next(letter for letter, value in letters if value == truth)


SOLVERS: dict[str, Callable[[str], str | set[str]]] = {
    "sums": arithmetic,
    "products": arithmetic,
    "stories": story,
    "strings": transduction,
    "calendar": moment,
    "sequences": following,
    "facts": fact,
}


def drafts(name: str, level: int, count: int = 300) -> list[Draft]:
    rng = random.Random(f"solve {name} {level}")
    return [FAMILIES[name].draw(rng, level) for _ in range(count)]


def test_every_family_has_a_solver() -> None:
    assert set(SOLVERS) | {"programs"} == set(FAMILIES)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SOLVERS)
def test_solutions_follow_from_the_prompt_alone(name: str, level: int) -> None:
    for draft in drafts(name, level):
        solved = SOLVERS[name](draft.prompt)
        if isinstance(solved, set):  # of several rules that fit, one is meant
            assert draft.solution in solved, draft
        else:
            assert draft.solution == solved, draft
        assert answer_of(draft.worked) == draft.solution


def test_nearly_all_sequences_have_one_continuation() -> None:
    several = [d for lv in LEVELS for d in drafts("sequences", lv) if len(following(d.prompt)) > 1]
    assert len(several) < 0.01 * 5 * 300, several


@pytest.mark.parametrize("level", [3, 4, 5])
def test_columns_of_a_sum_spell_its_result(level: int) -> None:
    """Units of each column, read from the last column back, are the digits of the answer."""
    for draft in drafts("sums", level):
        columns = draft.worked.partition("#")[0].split(",")
        first, *rest = reversed(columns)
        spelt = first + "".join(column[-1] for column in rest)
        assert int(spelt) == int(draft.solution), draft


@pytest.mark.parametrize("level", [3, 4, 5])
def test_partial_products_add_up(level: int) -> None:
    for draft in drafts("products", level):
        parts = draft.worked.partition("#")[0].split(",")
        assert sum(map(int, parts)) == int(draft.solution)


@pytest.mark.parametrize("level", [3, 4, 5])
def test_totals_of_a_story_lead_to_its_answer(level: int) -> None:
    """Each running total is the answer to the story cut off there."""
    for draft in drafts("stories", level):
        first, *clauses = draft.prompt.removesuffix(". how many?").split(",")
        totals = draft.worked.partition("#")[0].split(",")
        assert len(totals) == len(clauses) - 1
        for count, total in enumerate(totals, start=1):
            assert story(",".join([first, *clauses[:count]])) == total


def test_levels_become_harder_by_growing() -> None:
    """Longer prompts and worked answers, on average, from level 1 to level 5."""
    for name in FAMILIES:
        lengths = [
            sum(len(d.prompt + d.worked) for d in drafts(name, level, 200)) / 200
            for level in (1, 5)
        ]
        # Facts differ in how well they are known, programs in the rule, not in length.
        assert lengths[0] < lengths[1] or name in ("facts", "programs"), name


def test_facts_are_the_same_in_every_process() -> None:
    """The world is part of the released checkpoint: it must never be dealt anew."""
    assert len(_FACTS) == 60
    creature = next(iter(_FACTS))
    assert (creature, _FACTS[creature]) == (
        "lebo",
        {"colour": " white", "home": " hill", "food": " oats"},
    )


def test_creatures_belong_to_one_level() -> None:
    seen = {
        level: {re.search(r"of (\w+)", d.prompt)[1] for d in drafts("facts", level, 600)}  # type: ignore[index]
        for level in LEVELS
    }
    assert all(len(creatures) == 12 for creatures in seen.values())
    assert all(not seen[a] & seen[b] for a, b in pairwise(LEVELS))
    assert len(set().union(*seen.values())) == 60
