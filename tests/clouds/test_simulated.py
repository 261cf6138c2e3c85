"""The simulated cloud keeps to its stated accuracy, price and faults, prompt by prompt."""

from __future__ import annotations

import asyncio
import math
import random
import statistics

import pytest

from tests.checks import is_right
from understudy.clouds.building import build_cloud
from understudy.clouds.calls import stream_of
from understudy.clouds.settings import CloudSettings
from understudy.clouds.simulated import Accuracy, SimulatedCloud
from understudy.errors import ConfigError
from understudy.offload.config import Config
from understudy.settings import check_settings
from understudy.tasks import FAMILIES, LEVELS, KeyOfDrawn, draw_problem
from understudy.types import Cloud, Problem, Question, Reply, Request

KEY = KeyOfDrawn()


def cloud_of(accuracy: Accuracy = 0.5, seed: int = 0, **faults: float) -> SimulatedCloud:
    settings = {"accuracy": accuracy, "seed": seed, "faults": faults}
    return SimulatedCloud(SimulatedCloud.Settings.model_validate(settings), KEY)


def asked(cloud: Cloud, problem: Problem, attempt: int = 0) -> Reply:
    return asked_all(cloud, [problem], attempt)[0]


def asked_all(cloud: Cloud, problems: list[Problem], attempt: int = 0) -> list[Reply]:
    KEY.remember(problems)

    async def all_replies() -> list[Reply]:
        return [await cloud.answer(Request(each.question, attempt)) for each in problems]

    return asyncio.run(all_replies())


def questions(family: str, level: int, count: int) -> list[Problem]:
    """So many different ones, or as many as are found."""
    rng, found = random.Random(f"{family} {level}"), {}
    for _ in range(2 * count):
        problem = draw_problem(FAMILIES[family], level, "train", rng)
        found[problem.prompt] = problem
    return list(found.values())[:count]


def spread(share: float, count: int) -> float:
    """Four standard deviations of a binomial share, and half a trial."""
    return 4 * math.sqrt(share * (1 - share) / count) + 0.5 / count


@pytest.mark.parametrize("family", ["sums", "stories", "sequences"])
def test_it_is_as_often_right_as_stated_for_each_level(family: str) -> None:
    stated = [0.9, 0.7, 0.5, 0.3, 0.1]
    cloud = cloud_of({family: stated}, 3)
    for level in LEVELS:
        problems = questions(family, level, 200)
        replies = zip(problems, asked_all(cloud, problems), strict=True)
        share = statistics.mean(is_right(problem, reply.text or "") for problem, reply in replies)
        wanted = stated[level - 1]
        assert share == pytest.approx(wanted, abs=spread(wanted, len(problems)))


@pytest.mark.parametrize("family", FAMILIES)
def test_right_answers_pass_the_checker_and_slips_do_not(family: str) -> None:
    problems = [problem for level in LEVELS for problem in questions(family, level, 30)]
    for problem, reply in zip(problems, asked_all(cloud_of(1.0), problems), strict=True):
        assert is_right(problem, reply.text or "")
    slips = asked_all(cloud_of(0.0), problems)
    passed = [is_right(q, reply.text or "") for q, reply in zip(problems, slips, strict=True)]
    # Another program may compute the same values: `x[1:]` of a slip may still be `x[1:]` to it.
    assert statistics.mean(passed) <= (0.1 if family == "programs" else 0.0)


def test_a_family_without_figures_of_its_own_has_the_general_ones() -> None:
    cloud = cloud_of({"sums": 0.0})
    for family, wanted in (("sums", False), ("products", True)):
        for problem in questions(family, 2, 10):
            assert is_right(problem, asked(cloud, problem).text or "") == wanted


def test_a_question_has_one_answer_for_ever_and_another_seed_another_luck() -> None:
    problems = questions("sums", 3, 60)
    first = asked_all(cloud_of(), problems)
    assert asked_all(cloud_of(), problems[::-1]) == first[::-1]
    assert asked_all(cloud_of(), problems, attempt=3) == first
    assert asked_all(cloud_of(seed=1), problems) != first


def test_a_call_costs_what_its_tokens_cost() -> None:
    cloud = cloud_of(1.0)
    problem = Problem("123456789", "12", "sums", 1, "12345#12")
    reply = asked(cloud, problem)
    # Nine characters are three tokens begun, eight are two.
    assert (reply.prompt_tokens, reply.completion_tokens) == (3, 2)
    assert reply.dollars == pytest.approx((3 * 0.5 + 2 * 2.0) / 1e6)
    assert reply.error is None


def test_half_of_the_calls_take_longer_than_the_stated_time() -> None:
    seconds = [reply.seconds for reply in asked_all(cloud_of(), questions("sums", 5, 300))]
    assert min(seconds) > 0
    assert statistics.median(seconds) == pytest.approx(0.8, rel=0.1)


def test_a_question_of_nobody_is_a_failed_call_without_a_price() -> None:
    reply = asked(cloud_of(), Problem("why?", "", "", 5, ""))
    assert (reply.text, reply.dollars) == (None, 0.0)
    assert reply.error
    unknown = asyncio.run(cloud_of().answer(Request(Question.of("how?"))))
    assert (unknown.text, unknown.error) == (None, reply.error)


@pytest.mark.parametrize(
    "worked",
    ["card_arrival", "B", "so $x=2$, \\boxed{2}", "```python\ndef f():  # 1\n    return 1\n```"],
)
def test_a_wrong_answer_without_a_mark_holds_nothing_of_the_right_one(worked: str) -> None:
    problem = Problem("why?", worked, "mine", 1, worked)
    assert asked(cloud_of(1.0), problem).text == worked
    text = asked(cloud_of(0.0), problem).text or ""
    assert text
    assert not {"card", "boxed", "python", "B"} & set(text.replace("\\", " ").split())


def test_faults_come_as_often_as_stated() -> None:
    problems = questions("sums", 5, 400)
    cloud = cloud_of(1.0, failure_rate=0.3, truncation_rate=0.2)
    replies = asked_all(cloud, problems)
    for error, wanted in (("timeout", 0.3), ("truncated", 0.2), (None, 0.5)):
        share = statistics.mean(reply.error == error for reply in replies)
        assert share == pytest.approx(wanted, abs=spread(wanted, len(problems)))
    assert replies == asked_all(cloud, problems)
    again = asked_all(cloud, problems, attempt=1)
    assert any(old.error and not new.error for old, new in zip(replies, again, strict=True))


def test_a_timeout_is_free_and_slow_and_a_truncated_reply_is_paid_for() -> None:
    problem = questions("stories", 3, 1)[0]
    whole = asked(cloud_of(1.0), problem)
    lost = asked(cloud_of(1.0, failure_rate=1.0), problem)
    assert (lost.text, lost.dollars, lost.seconds) == (None, 0.0, 30.0)
    cut = asked(cloud_of(1.0, truncation_rate=1.0), problem)
    assert (cut.dollars, cut.prompt_tokens) == (whole.dollars, whole.prompt_tokens)
    assert cut.error == "truncated"
    assert not is_right(problem, cut.text or "")


def settings_of(cloud: object) -> CloudSettings:
    return check_settings(Config, {"cloud": cloud}).cloud


def test_settings_become_the_cloud_they_describe() -> None:
    plain = build_cloud(settings_of("simulated"), KEY)
    assert isinstance(plain, SimulatedCloud)
    assert plain.settings == SimulatedCloud.Settings()
    faulty = build_cloud(settings_of({"faults": {"failure_rate": 1.0}, "seed": 7}), KEY)
    assert asked(faulty, questions("sums", 1, 1)[0]).error == "timeout"


@pytest.mark.parametrize("accuracy", [1.5, [0.9], [0.5, 0.5, 0.5, 0.5, -0.1], {"sums": [1.0]}])
def test_shares_that_are_none_are_refused(accuracy: object) -> None:
    with pytest.raises(ConfigError, match=r"cloud\.accuracy.*\[0, 1\]"):
        settings_of({"accuracy": accuracy})


def test_an_unknown_family_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"cloud\.accuracy.*poems.*sums"):
        settings_of({"accuracy": {"poems": 1.0}})


def test_an_answer_is_streamed_word_by_word_and_ends_whole() -> None:
    problem = Problem("why?", "so", "mine", 1, "because  it is\nso")
    whole = asked(cloud_of(1.0), problem)

    async def parts() -> list[str | Reply]:
        return [part async for part in stream_of(cloud_of(1.0), Request(problem.question))]

    *words, last = asyncio.run(parts())
    assert last == whole
    assert len(words) == 4
    assert "".join(map(str, words)) == whole.text


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_answer_costs_more_than_its_estimate(family: str, accuracy: float) -> None:
    cloud = cloud_of(accuracy)
    problems = questions(family, 3, 20)
    for problem, reply in zip(problems, asked_all(cloud, problems), strict=True):
        most = cloud.estimate(problem.question)
        assert reply.dollars <= most.dollars
        assert reply.completion_tokens <= most.completion_tokens
        assert reply.prompt_tokens == most.prompt_tokens
