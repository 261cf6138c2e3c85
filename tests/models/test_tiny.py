"""The model that ships: an ordinary checkpoint, partly competent, undecided about asking."""

import random
from statistics import fmean

import pytest
import torch

from understudy.models.checkpoint import TINY
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing
from understudy.offload.examination import right_answers
from understudy.offload.local import greedy
from understudy.tasks import FAMILIES, LEVELS, draw_problem, open_tasks


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load("tiny")


def questions(family: str, level: int, count: int) -> list:
    rng = random.Random(f"{family} {level}")
    return [draw_problem(FAMILIES[family], level, "test", rng) for _ in range(count)]


def test_it_is_small(policy: Policy) -> None:
    parameters = sum(p.numel() for p in policy.network.parameters())
    assert 200_000 <= parameters <= 1_000_000
    assert sum(path.stat().st_size for path in TINY.iterdir()) < 4_000_000


def test_transformers_reads_it_as_an_ordinary_checkpoint(policy: Policy) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    model = transformers.AutoModelForCausalLM.from_pretrained(TINY)
    text = "tom has 12 pens, buys 5. how many?\n17#17<eos>"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == policy.tokens.encode(text)
    assert tokenizer.decode(ids) == text
    rows = torch.tensor([ids])
    with torch.no_grad():
        torch.testing.assert_close(policy.network(rows), model(rows).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_is_partly_mastered(policy: Policy, family: str) -> None:
    """Between 15 and 85 % overall, with room for sampling error; never perfect at level 5."""
    right = {}
    with open_tasks() as tasks:
        for level in LEVELS:
            problems = questions(family, level, 120)
            answers = [each.answer for each in greedy(policy, problems, 24)]
            right[level] = fmean(right_answers(tasks, problems, answers))
    assert 0.12 < sum(right.values()) / len(LEVELS) < 0.88, right
    assert right[5] < 0.8, right


def test_asking_is_neither_certain_nor_impossible(policy: Policy) -> None:
    problems = [q for family in FAMILIES for q in questions(family, 3, 8)]
    prompts = policy.prompts([problem.question for problem in problems])
    drawing = Drawing(24)
    drawn = policy.sample(prompts, 8, drawing, drawing.uniforms(8 * len(problems), 0))
    per_family = drawn.asked.view(len(FAMILIES), -1).float().mean(dim=1)
    assert ((per_family > 0.02) & (per_family < 0.8)).all(), per_family


def test_it_reasons_where_that_pays(policy: Policy) -> None:
    problems = questions("stories", 3, 50)
    answers = [each.answer for each in greedy(policy, problems, 24)]
    with_reasoning = [answer for answer in answers if not answer.startswith("#")]
    assert len(with_reasoning) > 40
