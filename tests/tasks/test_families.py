"""Every family at every level: what is drawn is right, checkable and split for good."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.tasks import ANSWER_MARK, FAMILIES, LEVELS, answer_of, draw_problem, split_of
from understudy.tasks.family import Draft, Split

EVERY = pytest.mark.parametrize(("name", "level"), [(n, lv) for n in FAMILIES for lv in LEVELS])
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def drafts(name: str, level: int, count: int = 300) -> list[Draft]:
    rng = random.Random(f"{name} {level}")
    return [FAMILIES[name].draw(rng, level) for _ in range(count)]


def mutations(answer: str) -> set[str]:
    """Answers one small slip away."""
    wrong = {answer[:-1], answer + answer[-1], answer[::-1], f"-{answer}", ""}
    if answer.lstrip("-").isdigit():
        wrong |= {str(int(answer) + 1), str(int(answer) - 1), str(10 * int(answer))}
    return {mutant for mutant in wrong if mutant.strip() != answer}


def test_the_catalogue_is_complete_and_named_consistently() -> None:
    assert len(FAMILIES) == 8
    assert all(name == family.name for name, family in FAMILIES.items())


@EVERY
def test_worked_completions_pass_their_own_checker(name: str, level: int) -> None:
    for draft in drafts(name, level):
        answer = answer_of(draft.worked)
        assert answer is not None
        assert FAMILIES[name].check(answer, draft.solution), draft
        assert FAMILIES[name].check(f" {answer} ", draft.solution)  # blanks around are no fault


@EVERY
def test_a_worked_completion_has_one_answer_mark(name: str, level: int) -> None:
    """A second mark would move the answer; one in the prompt could be copied as an answer."""
    for draft in drafts(name, level, 100):
        assert draft.worked.count(ANSWER_MARK) == 1
        assert ANSWER_MARK not in draft.prompt


@pytest.mark.parametrize(
    ("name", "level"),
    [(n, lv) for n in FAMILIES if n != "programs" for lv in LEVELS],  # theirs: test_programs.py
)
def test_slips_fail_the_checker(name: str, level: int) -> None:
    for draft in drafts(name, level):
        for wrong in mutations(draft.solution):
            assert not FAMILIES[name].check(wrong, draft.solution), (draft, wrong)


@EVERY
def test_a_prompt_has_one_solution(name: str, level: int) -> None:
    """The prompt is a problem's identity: drawn again, it is the same problem."""
    found = defaultdict(set)
    for draft in drafts(name, level, 1000):
        # Two programs may fit the same examples; their hidden inputs are drawn anew.
        if name != "programs":
            found[draft.prompt].add((draft.solution, draft.worked))
    assert all(len(solutions) == 1 for solutions in found.values())


@EVERY
def test_every_split_holds_several_prompts_found_in_few_draws(name: str, level: int) -> None:
    rng = random.Random(f"splits {name} {level}")
    found: dict[Split, set[str]] = defaultdict(set)
    for _ in range(2000):
        prompt = FAMILIES[name].draw(rng, level).prompt
        found[split_of(name, prompt)].add(prompt)
    for split in SPLITS:
        assert len(found[split]) >= 4, (name, level, split)


@EVERY
def test_queries_keep_to_their_split_family_and_level(name: str, level: int) -> None:
    rng = random.Random(5)
    started = time.process_time()
    drawn: dict[Split, set[str]] = {}
    for split in SPLITS:
        problems = [draw_problem(FAMILIES[name], level, split, rng) for _ in range(40)]
        assert {(q.family, q.level) for q in problems} == {(name, level)}
        drawn[split] = {q.prompt for q in problems}
    assert (
        time.process_time() - started < 2.0
    )  # 120 problems; a rejection loop could go on for ever
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["validation"] & drawn["test"]


@EVERY
def test_equal_seeds_draw_equal_queries(name: str, level: int) -> None:
    def draw(seed: int) -> list[object]:
        rng = random.Random(seed)
        return [draw_problem(FAMILIES[name], level, "train", rng) for _ in range(10)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


def test_splits_are_fixed_for_ever() -> None:
    """A changed hash would move test prompts of released checkpoints into training."""
    prompts = [str(i) for i in range(12)]
    sides = "".join(str(SPLITS.index(split_of("sums", prompt))) for prompt in prompts)
    assert sides == "021012010020"


@given(st.sampled_from(sorted(FAMILIES)), st.text(max_size=30))
def test_any_prompt_has_exactly_one_split(name: str, prompt: str) -> None:
    assert split_of(name, prompt) in SPLITS
    assert split_of(name, prompt) == split_of(name, prompt)


def test_split_shares_are_sixteenths() -> None:
    sides = [split_of("sums", f"{i}+{i}") for i in range(8000)]
    for split, share in (("train", 10 / 16), ("validation", 3 / 16), ("test", 3 / 16)):
        assert sides.count(split) / len(sides) == pytest.approx(share, abs=0.02)


@EVERY
def test_checkers_survive_any_answer(name: str, level: int) -> None:
    """A model's answer is untrusted text: the checker says no, it does not raise."""
    draft = drafts(name, level, 1)[0]
    for answer in ("", " ", "\x00", "#", "é" * 500, "[" * 5000, "9" * 5000, "__import__('os')"):
        assert FAMILIES[name].check(answer, draft.solution) is False


def test_program_solutions_are_hidden_inputs_with_their_values() -> None:
    for draft in drafts("programs", 5, 20):
        tests = json.loads(draft.solution)
        assert len(tests) == 6
        shown = {example.partition(">")[0] for example in draft.prompt.split("; ")}
        assert any(" ".join(map(str, x)) not in shown for x, _ in tests)
