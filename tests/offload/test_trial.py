"""What a step takes, from a few prompts of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.small import write_checkpoint
from tests.offload.runs import config_of
from understudy.models.policy import Policy
from understudy.objectives.terms import Portion
from understudy.offload.config import Config
from understudy.offload.learn import Objective, read_portion
from understudy.offload.start import start
from understudy.offload.trial import Kept, Trial, bought, estimate, tried, try_steps
from understudy.recipes import build_method
from understudy.types import Problem, Turn

ONE = Trial(
    prompts=2,
    longest=8,
    prompt_tokens=50.0,
    response_tokens=8.0,
    cut_off=1.0,
    draw_seconds=1.0,
    learn_seconds=2.0,
    examine_seconds=0.5,
    held_bytes=1000,
    draw_peak_bytes=1100,
    learn_peak_bytes=1300,
)
TWO = replace(ONE, prompts=4, draw_seconds=1.5, learn_seconds=3.0, learn_peak_bytes=1500)
EVERY = Kept(group=4, portions=1, limit=10**9, once=True)


def of(size: int, longest: int) -> Config:
    given = {"batch_size": size, "num_generations": 4, "max_completion_length": longest}
    return Config().model_copy(update=given)


def test_a_step_lies_on_the_line_through_two_trials() -> None:
    found = estimate(of(8, 8), [ONE, TWO], EVERY)
    assert (found.draw_seconds, found.learn_seconds) == (2.5, 5.0)
    assert found.peak_bytes == 1900
    assert found.examine_seconds == 0.5 / 32  # 32 at once, which take as long as 4


def test_the_quicker_of_two_tries_counts_and_single_ones_make_a_range() -> None:
    """Others had the machine in the second try of 2 prompts and in the first of 4."""
    busy = [replace(ONE, draw_seconds=1.4, learn_peak_bytes=1100), replace(TWO, learn_seconds=5.0)]
    found = estimate(of(8, 8), [ONE, busy[1], busy[0], TWO], EVERY)
    assert (found.draw_seconds, found.learn_seconds, found.peak_bytes) == (2.5, 5.0, 1900)
    # At 4 prompts 1.5 s to draw and 3 or 5 s to learn; twice the way there from 2 prompts is added:
    # 2 x (0.5 or 0.1) s to draw, 2 x (1 or 3) s to learn.
    assert found.seconds_between == (pytest.approx(1.7 + 5.0), pytest.approx(2.5 + 11.0))
    assert estimate(of(8, 8), [ONE, TWO], EVERY).seconds_between is None


def test_a_try_less_of_the_larger_size_leaves_the_line_through_both() -> None:
    found = estimate(of(8, 8), [ONE, TWO, replace(ONE, draw_seconds=9.0)], EVERY)
    assert (found.draw_seconds, found.learn_seconds, len(found.trials)) == (2.5, 5.0, 3)


def test_one_trial_alone_grows_with_the_prompts_beyond_what_was_held() -> None:
    found = estimate(of(8, 8), [ONE], EVERY)
    assert (found.draw_seconds, found.learn_seconds, found.peak_bytes) == (4.0, 8.0, 2200)


def test_longer_responses_take_longer_by_what_was_cut_off() -> None:
    """50 + 4 x 8 = 82 tokens were read per prompt; all of them going on it is 50 + 4 x 16."""
    found = estimate(of(4, 16), [ONE, TWO], EVERY)
    assert (found.draw_seconds, found.examine_seconds) == (3.0, 1.0 / 16)
    assert found.learn_seconds == pytest.approx(3.0 * 114 / 82)
    assert found.peak_bytes == round(1500 + 200 / 164 * (4 * 114 - 328))
    ended = [replace(each, cut_off=0.0) for each in (ONE, TWO)]
    assert estimate(of(4, 16), ended, EVERY).draw_seconds == 1.5
    assert estimate(of(4, 16), ended, EVERY).learn_seconds == 3.0


def test_memory_to_learn_grows_up_to_the_limit_of_a_portion_and_to_draw_without() -> None:
    """82 tokens a prompt: 164 and 328 in the trials, in a step 656, of which 400 at once."""
    limited = replace(EVERY, limit=400)
    found = estimate(of(8, 8), [ONE, TWO], limited)
    assert found.peak_bytes == round(1500 + 200 / 164 * (400 - 328))
    limited = replace(EVERY, limit=5000)
    longer = estimate(of(64, 4096), [ONE, TWO], limited)
    assert longer.peak_bytes == round(1500 + 200 / 164 * (5000 - 328))
    drawn = [replace(ONE, draw_peak_bytes=1200), replace(TWO, draw_peak_bytes=1350)]
    whole = 64 * (50 + 4 * 4096)  # tokens
    assert estimate(of(64, 4096), drawn, limited).peak_bytes == round(
        1350 + 150 / 164 * (whole - 328)
    )
    alone = estimate(of(8, 8), [ONE], replace(EVERY, limit=400))
    assert alone.peak_bytes == round(1300 + 300 / 164 * (400 - 164))


def test_tokens_of_a_portion_by_hand() -> None:
    in_four = Kept(group=4, portions=4, limit=100, once=True)
    assert in_four.in_learning(ONE, 2) == 50 + 2 * 8  # of eight rows two, of one prompt
    assert in_four.in_learning(ONE, 8) == 100  # eight of two prompts: 2 x 50 + 8 x 8
    assert in_four.in_learning(ONE, 8, more=92) == 150  # a row alone, however long
    assert replace(in_four, limit=999).in_learning(replace(ONE, shared_tokens=40), 8) == 124
    assert replace(in_four, limit=999, once=False).in_learning(ONE, 8) == 8 * 58
    assert in_four.in_drawing(ONE, 8) == 8 * 50 + 32 * 8


def test_trials_that_hardly_differ_make_no_steep_line() -> None:
    """Their peaks differ by what else the program does; no line falls below what was held."""
    near = replace(ONE, prompt_tokens=131.5, learn_peak_bytes=1100)  # 327 tokens, and TWO 328
    assert estimate(of(8, 8), [near, TWO], EVERY).peak_bytes == 2000


def test_what_is_faster_with_more_prompts_is_not_expected_to_go_on_so() -> None:
    odd = replace(TWO, draw_seconds=0.5)
    assert estimate(of(64, 8), [ONE, odd], EVERY).draw_seconds == 0.5


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("recipe", ["understudy", "gapg"])
def test_a_trial_draws_learns_and_examines_without_the_cloud(
    kind: str, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every response is learnt from, whatever it is worth."""
    learnt: list[int] = []

    def noted(policy: Policy, objective: Objective, rows: torch.Tensor) -> Portion:
        learnt.append(len(rows))
        return read_portion(policy, objective, rows)

    monkeypatch.setattr("understudy.offload.learn.read_portion", noted)
    model = write_checkpoint(tmp_path / "model", kind, chat=kind == "llama")
    config = config_of(recipe, model, lora__rank=2, cloud__kind="simulated")
    state, helpers = start(config, build_method(config))
    before = [weight.detach().clone() for weight in state.trained()]
    with closing(helpers):
        found = tried(state, helpers, config, 3, 5)
        assert helpers.cloud.spend.calls == 0
    assert (found.prompts, found.longest, sum(learnt)) == (3, 5, 12)
    assert 1 <= found.response_tokens <= 5
    assert found.peak_bytes >= 0.9 * found.held_bytes > 0
    moved = [not torch.equal(a, b) for a, b in zip(before, state.trained(), strict=True)]
    assert any(moved)


def test_trials_end_with_the_whole_step_where_there_is_time(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "model", "qwen2-tied")
    config = config_of("dagrpo", model, max_completion_length=12)
    found = try_steps(config, build_method(config), seconds=1e9)
    assert [(each.prompts, each.longest) for each in found.trials] == [
        (2, 8),
        (4, 8),
        (2, 8),
        (4, 8),
        (4, 12),
    ]
    last = found.trials[-1]
    assert (found.draw_seconds, found.learn_seconds) == (last.draw_seconds, last.learn_seconds)
    assert found.peak_bytes == last.peak_bytes
    assert found.processor_seconds > 0
    assert sum(each.learn_seconds for each in found.trials) < found.trial_seconds
    assert len(try_steps(config, build_method(config), seconds=0.0).trials) == 1


def test_the_answers_that_are_learnt_follow_the_questions_as_the_model_reads_them() -> None:
    """Behind the worked examples, which make a prompt several times as long."""
    shown = (Turn("user", "before"), Turn("assistant", "ham"))
    problems = [Problem("now", "spam", "sms", 1, "spam", "Answer.", examples=shown)] * 3
    found = bought(problems, 0.5)
    assert [each.question for each in found] == [problems[0].local_question] * 2
    assert [each.answer for each in found] == ["spam"] * 2
    assert bought(problems, 0.0) == []
