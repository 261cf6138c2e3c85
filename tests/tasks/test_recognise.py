"""A typed question becomes the problem its family would have drawn, or nothing at all."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.tasks import FAMILIES, LEVELS, answer_of
from understudy.tasks.facts import ATTRIBUTES, CREATURES, truth_of
from understudy.tasks.family import Draft
from understudy.tasks.recognise import recognise, typed

EVERY = pytest.mark.parametrize(("name", "level"), [(n, lv) for n in FAMILIES for lv in LEVELS])


def drafts(name: str, level: int, count: int) -> list[Draft]:
    rng = random.Random(f"recognise {name} {level}")
    return [FAMILIES[name].draw(rng, level) for _ in range(count)]


@EVERY
def test_what_a_family_draws_is_recognised(name: str, level: int) -> None:
    for draft in drafts(name, level, 400):
        problem = recognise(draft.prompt)
        assert problem is not None, draft
        assert (problem.prompt, problem.family) == (draft.prompt, name)
        assert 1 <= problem.level <= level
        answer = answer_of(problem.worked)
        assert answer is not None
        assert FAMILIES[name].check(answer, problem.solution)
        if name != "programs":  # theirs: the next test
            assert (problem.solution, problem.worked) == (draft.solution, draft.worked)


@pytest.mark.parametrize("level", LEVELS)
def test_a_recognised_program_fits_the_examples_shown(level: int) -> None:
    agreeing = 0
    for draft in drafts("programs", level, 300):
        problem = recognise(draft.prompt)
        assert problem is not None
        source, meant = answer_of(problem.worked), answer_of(draft.worked)
        assert source is not None
        assert meant is not None
        shown = [
            [[int(n) for n in part.split()] for part in example.split(">")]
            for example in draft.prompt.split("; ")
        ]
        tests = json.loads(problem.solution)
        assert [x for x, _ in tests] == [x for x, _ in shown]
        assert [y if isinstance(y, list) else [y] for _, y in tests] == [y for _, y in shown]
        agreeing += FAMILIES["programs"].check(source, draft.solution)
    assert agreeing > 200  # two examples leave room for a few other programs


@pytest.mark.parametrize(
    ("prompt", "level", "solution", "worked"),
    [
        ("27+58", 3, "85", "15,8#85"),
        ("0-0", 1, "0", "#0"),
        ("5+12", 3, "17", "7,1#17"),
        ("123456+7", 5, "123463", "13,6,4,3,2,1#123463"),
        ("999999999-1", 5, "999999998", "8,9,9,9,9,9,9,9,9#999999998"),
        ("3*4", 1, "12", "#12"),
        ("12*4", 3, "48", "40,8#48"),
        ("123*45", 5, "5535", "5400,135#5535"),
        ("tom has 5 pens, gets 3. how many?", 1, "8", "#8"),
        ("ida has 5 eggs, then 3 times as many. how many?", 4, "15", "#15"),
        ("eva has 900 nuts, eats 900, finds 4. how many?", 5, "4", "0#4"),
        ("reverse bcd", 1, "dcb", "#dcb"),
        ("sort gfdcb", 3, "bcdfg", "#bcdfg"),
        ("sort rotate gfdcb", 4, "cdfgb", "bcdfg#cdfgb"),
        ("3 1 2>1 2 3; 9 8 7>7 8 9", 1, "[[[3, 1, 2], [1, 2, 3]], [[9, 8, 7], [7, 8, 9]]]", None),
        (
            "1 2 3>; 1 6 7>6 7",
            3,
            "[[[1, 2, 3], []], [[1, 6, 7], [6, 7]]]",
            "#[v for v in x if v>3]",
        ),
        ("2 weeks in days", 1, "14", "#14"),
        ("2 weeks 3 days in days", 2, "17", "14#17"),
        ("sun + 8 days", 3, "mon", "1#mon"),
        ("22:50 + 15 min", 4, "23:05", "65,5#23:05"),
        ("28 feb + 2 days", 5, "2 mar", "30,2#2 mar"),
        ("next: 2 4 6 8", 1, "10", "+2#10"),
        ("next: 7 57 107 157", 5, "207", "+50#207"),
        ("next: 12 9 6 3", 3, "0", "-3#0"),
        ("next: 1 2 4 8", 4, "16", "16,+0#16"),
        ("next: 1 1 2 3", 5, "5", "2+3#5"),
    ],
)
def test_a_case_by_hand(prompt: str, level: int, solution: str, worked: str | None) -> None:
    problem = recognise(prompt)
    assert problem is not None
    assert (problem.level, problem.solution) == (level, solution)
    assert worked is None or problem.worked == worked


def test_every_creature_is_known_at_its_level() -> None:
    for number, creature in enumerate(CREATURES):
        for attribute, values in ATTRIBUTES.items():
            truth = truth_of(attribute, creature)
            others = [value for value in values if value != truth]
            shown = f"a{others[0]} b{others[1]} c{truth} d{others[2]}"
            problem = recognise(f"{attribute} of {creature}? {shown}")
            assert problem is not None
            assert (problem.level, problem.solution) == (1 + number // 12, "c")
            without = f"a{others[0]} b{others[1]} c{others[3]} d{others[2]}"
            assert recognise(f"{attribute} of {creature}? {without}") is None
            twice = f"a{others[0]} b{others[0]} c{truth} d{others[2]}"
            assert recognise(f"{attribute} of {creature}? {twice}") is None


NEAR_MISSES = [
    "", " ", "\n", "#", "hello", "what is 2+2?", "help",
    # numbers
    "27 + 58", "27+58 ", " 27+58", "27+58\n", "27+", "+58", "-3+5", "3-5", "007+5", "2/1", "1+2+3",
    "27+58=", "1234567890+1", "٢+٣", "２+３", "2**3", "2*3*4", "1e3+2", "0x1+1", "3.5+1",
    # stories
    "tom has 5 pens. how many?",
    "bob has 5 pens, gets 3. how many?",
    "tom has 5 cats, gets 3. how many?",
    "tom has 5 pens, gets 3",
    "tom has 5 pens, loses 6. how many?",
    "tom has 5 pens, loses 6, gets 9. how many?",
    "tom has 5 pens, then 3. how many?",
    "tom has 5 pens, gets 3 times as many. how many?",
    "tom has 5 pens, gets 1, gets 1, gets 1, gets 1. how many?",
    "tom has -5 pens, gets 3. how many?",
    # strings
    "reverse", "reverse ", "reverse b", "reverse hello", "reverse BCD", "shift bcd", "sort reverse",
    "sort sort sort bcd", "reverse bcd bcd", "reverse  bcd",
    # programs
    "1 2 3>6", "1 2 3>; ", ">; >", "1>1; ", "1 2 3>99; 4 5 6>98", "1 2 3>6; 4 5 6>15; 1 1 1>3",
    "1  2>3; 4 5>9", "01 2>3; 4 5>9", "1 2 3 > 6; 4 5 6 > 15", "a b>c; d e>f", "1 2>3;4 5>9",
    # time
    "99:99 + 5 min", "24:00 + 5 min", "12:60 + 5 min", "23:59 + 1 min", "9:30 + 5 min",
    "12:30 + 60 min", "12:30 + 05 min", "12:30 - 5 min", "12:30 + 5 days", "30 feb + 2 days",
    "0 jan + 2 days", "29 feb + 2 days", "32 jan + 2 days", "1 jan + 29 days", "1 foo + 2 days",
    "foo + 2 days", "mon - 2 days", "mon + days", "2 hours 60 min in min", "2 weeks 7 days in days",
    "2 weeks 0 days in days", "2 years in days", "2 hours in days", "2 hours 3 days in min",
    # facts
    "colour of zzzz? a red b blue c gold d pink", "taste of zubo? a red b blue c gold d pink",
    "colour of zubo?", "colour of zubo? a fish b corn c milk d rice",
    "colour of ? a red b blue c gold d pink",
    # sequences
    "next:", "next: 1 2 3", "next: 1 2 3 4 5", "next: 1 2 3 5 ", "next: 1 2 3 9", "next: 5 5 5 5",
    "next: 0 0 0 0", "next: 9 6 3 0", "next: 01 2 3 4", "next: -1 0 1 2", "1 2 3 4",
    "next: a b c d",
]  # fmt: skip


@pytest.mark.parametrize("prompt", NEAR_MISSES)
def test_a_near_miss_is_nothing(prompt: str) -> None:
    assert recognise(prompt) is None


@EVERY
def test_slips_in_a_prompt_are_recognised_as_something_whole_or_not_at_all(
    name: str, level: int
) -> None:
    rng = random.Random(f"slips {name} {level}")
    for draft in drafts(name, level, 20):
        prompt, i = draft.prompt, rng.randrange(len(draft.prompt))
        other = rng.choice("abz059 +-*>;:,.?\n\x00é")
        for slipped in (prompt[:i] + prompt[i + 1 :], prompt[:i] + other + prompt[i:]):
            _check_whole(slipped)
        assert recognise(prompt + " ") is None
        assert recognise(prompt.upper()) is None or prompt.upper() == prompt


PIECES = st.sampled_from(
    [
        *sorted({word for family in FAMILIES.values() for word in family.words}),
        *"0123456789+-*>;:,.? \n#()[]",
        *("; ", " + ", "next: ", "12", "999999999", "\ud800", "٣"),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=14).map("".join)))
def test_any_text_is_recognised_whole_or_not_at_all(prompt: str) -> None:
    _check_whole(prompt)


@given(st.from_regex(r"[0-9]{1,9}[-+*][0-9]{1,9}", fullmatch=True))
def test_sums_and_products_of_any_size_are_right(prompt: str) -> None:
    sign = next(c for c in "+-*" if c in prompt)
    left, right = prompt.split(sign)
    a, b = int(left), int(right)
    plain = prompt == f"{a}{sign}{b}"
    problem = recognise(prompt)
    if not plain or (sign == "-" and a < b):
        assert problem is None
        return
    assert problem is not None
    assert int(problem.solution) == {"+": a + b, "-": a - b, "*": a * b}[sign]
    steps = [int(step) for step in problem.worked.split("#")[0].split(",") if step]
    if sign == "*" and steps:
        assert sum(steps) == a * b
    if sign != "*" and problem.level >= 3:
        digits = enumerate(_uncarried(steps))
        assert sum(digit * 10**i for i, digit in digits) == int(problem.solution)


@pytest.mark.parametrize(
    "prompt",
    [
        "9" * 100_000,
        "1 " * 50_000 + ">1; 1>1",
        "tom has 5 pens" + ", gets 3" * 20_000 + ". how many?",
        "reverse " + "b" * 100_000,
        "9" * 90 + ">" + "9" * 100,
        f"{'9' * 60}>{'9' * 60}; {'9' * 20}>{'9' * 20}",
        f"{'9 ' * 40}>{'9 ' * 20}; 9>9",
        " " * 199,
        "tom has 5 pens" + ", gets 3" * 20,
    ],
)
def test_hostile_prompts_are_refused_at_once(prompt: str) -> None:
    started = time.process_time()
    assert recognise(prompt) is None
    assert time.process_time() - started < 1.0


def _check_whole(prompt: str) -> None:
    problem = recognise(prompt)
    if problem is None:
        return
    assert problem.prompt == prompt
    assert problem.level in LEVELS
    answer = answer_of(problem.worked)
    assert answer is not None
    assert FAMILIES[problem.family].check(answer, problem.solution)


def _uncarried(steps: list[int]) -> list[int]:
    """Column results with what was carried into the next column taken out of it."""
    return [step % 10 for step in steps] + ([1] if steps and steps[-1] >= 10 else [])


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("What is 17 + 25?", "17+25"),
        ("3 + 4 = ?", "3+4"),
        ("how much is 12*3", "12*3"),
        ("  9-4=", "9-4"),
        ("Tom has 12 pens, buys 5. How many?", "tom has 12 pens, buys 5. how many?"),
        ("what is 1+2+3?", "what is 1+2+3?"),
        ("what is love?", "what is love?"),
    ],
)
def test_what_somebody_types_is_read_as_a_family_asks_it(text: str, form: str) -> None:
    assert typed(text) == form
    assert (recognise(form) is not None) == (not form.startswith("what"))


@EVERY
def test_what_a_family_draws_is_typed_as_it_is(name: str, level: int) -> None:
    for draft in drafts(name, level, 40):
        assert typed(draft.prompt) == draft.prompt
