"""What responses are worth, and what each method makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checks import TASKS, is_right
from tests.offload.runs import config_of, drawn_figures, trajectory
from understudy.offload.config import Config
from understudy.offload.method import Dual
from understudy.offload.rewards import RewardConfig
from understudy.offload.scores import Responses, Scores, Valuation, score_responses
from understudy.recipes import build_method
from understudy.types import Problem, Reply

QUERIES = [Problem(f"{i}+{i}", str(2 * i), "sums", 1, f"#{2 * i}") for i in range(4)]
WORTH = RewardConfig(local=1.0, cloud=0.6, format=0.1)
ASK = "<ask>"


def scored(texts: list[list[str]], replies: dict[int, Reply]) -> Scores:
    flat = [text for row in texts for text in row]
    asked = torch.tensor([[text.endswith(ASK) for text in row] for row in texts])
    valuation = Valuation(TASKS, WORTH)
    return Scores(
        **score_responses(valuation, Responses(QUERIES, flat, asked, replies)),
        **drawn_figures(asked),
        token_ask_probability=torch.full((9,), 0.25),
    )


@pytest.fixture
def scores() -> Scores:
    texts = [
        ["#0", "#1", "0"],  # right, wrong in form, formless
        ["#2" + ASK, "#2", ASK],  # what an asker says by itself counts for nothing
        [ASK, "#4", "#5"],  # its call fails
        [ASK, ASK, "#7"],  # its reply is wrong
    ]
    replies = {1: Reply("1+1=2#2"), 2: Reply("#4", error="truncated"), 3: Reply("#9")}
    return scored(texts, replies)


def test_rewards_by_hand(scores: Scores) -> None:
    wanted = [[1.0, 0.1, 0.0], [0.6, 1.0, 0.6], [0.0, 1.0, 0.1], [0.0, 0.0, 0.1]]
    assert torch.equal(scores.reward, torch.tensor(wanted))


def test_who_has_the_form(scores: Scores) -> None:
    """Whoever asks gives no answer, right or wrong."""
    wanted = [[True, True, False], [False, True, False], [False, True, True], [False, False, True]]
    assert scores.formed.tolist() == wanted


def test_a_failed_call_takes_its_askers_out_and_nobody_else(scores: Scores) -> None:
    valid = torch.ones(4, 3, dtype=torch.bool)
    valid[2, 0] = False
    assert torch.equal(scores.valid, valid)
    assert scores.cloud_right.tolist() == [False, True, False, False]


def test_who_was_right(scores: Scores) -> None:
    local = [[True, False, False], [False, True, False], [False, True, False], [False] * 3]
    assert scores.local_right.tolist() == local
    system = [[True, False, False], [True, True, True], [False, True, False], [False] * 3]
    assert scores.right.tolist() == system


def test_asking_is_counted_and_expected_over_all_responses(scores: Scores) -> None:
    assert scores.usage == pytest.approx(5 / 12)
    assert scores.expected_usage == pytest.approx(9 * 0.25 / 12)


@pytest.mark.parametrize("text", ["#12", "so#12", "3#12", "#7#12", "# 12 "])
def test_the_last_answer_counts(text: str) -> None:
    assert is_right(Problem("6+6", "12", "sums", 1, ""), text)


@pytest.mark.parametrize("text", ["", "12", "#", "#1", "#12#", "#012"])
def test_what_is_not_the_answer(text: str) -> None:
    assert not is_right(Problem("6+6", "12", "sums", 1, ""), text)


def config(recipe: str, **settings: Any) -> Config:
    return config_of(recipe, Path("unused"), **settings)


@pytest.mark.parametrize("recipe", ["understudy", "dagrpo", "gapg", "grpo", "shaped"])
def test_a_response_without_reward_is_pushed_nowhere(recipe: str, scores: Scores) -> None:
    scales = ("none", "group", "batch") if recipe in ("grpo", "shaped") else ()
    for settings in [{}, *({"scale_rewards": scale} for scale in scales)]:
        recipe_method = build_method(config(recipe, **settings))
        advantage = recipe_method.advantage(scores, recipe_method.start())
        assert advantage.shape == (4, 3)
        assert advantage[2, 0] == 0.0
        assert advantage[2].abs().sum() > 0
        assert advantage.isfinite().all()


def test_the_dual_advantage_by_hand(scores: Scores) -> None:
    advantage = build_method(config("dagrpo")).advantage(scores, Dual(price=0.3))
    # Rewards less price, centred: 0.3, 1, 0.3 about 8/15; the failed asker leaves 1 and 0.1.
    assert advantage[1].tolist() == pytest.approx([0.3 - 8 / 15, 1 - 8 / 15, 0.3 - 8 / 15])
    assert advantage[2].tolist() == pytest.approx([0.0, 0.45, -0.45])
    assert advantage[3].tolist() == pytest.approx([-1 / 3 + 1 / 5, -1 / 3 + 1 / 5, 2 / 3 - 2 / 5])


def test_gapg_keeps_local_successes_and_its_share_of_the_cloud_s() -> None:
    texts = [["#0", "#9"], [ASK, "#9"], [ASK, "#9"], ["#9", "#8"]]
    found = scored(texts, {1: Reply("#2"), 2: Reply("#4")})
    for ratio, kept in (
        (0.0, [True, False, False, False]),
        (1.0, [True, True, False, False]),
        (2.0, [True, True, True, False]),
        (9.0, [True, True, True, False]),
    ):
        recipe = build_method(config("gapg", price__filter_ratio=ratio))
        pushed = recipe.advantage(found, Dual(0.0)).abs().sum(dim=1) > 0
        assert pushed.tolist() == kept


def test_a_batch_goes_on_when_every_call_fails(model: Path) -> None:
    settings = config_of("dagrpo", model, cloud__faults__failure_rate=1.0, distill=1.0)
    lines, _ = trajectory(settings)
    asked = [line for line in lines.steps if line["cloud/ask_rate"] > 0]
    assert asked
    assert all(line["rewards/valid"] == pytest.approx(1 - line["cloud/ask_rate"]) for line in asked)
    spend = lines.spend()
    assert spend.failed_calls == spend.calls > 0
    assert spend.dollars == 0.0
    assert lines.rows[-1].tasks[0].cloud is None


def test_the_last_line_carries_the_whole_bill(model: Path) -> None:
    lines, _ = trajectory(config_of("dagrpo", model, cloud__faults__truncation_rate=0.5))
    last, spend = lines.steps[-1], lines.spend()
    assert last["cloud/calls"] == spend.calls > 0
    assert last["cloud/failed_calls"] == spend.failed_calls > 0
    assert last["cloud/tokens"] == spend.prompt_tokens + spend.completion_tokens
    assert last["cloud/dollars"] == pytest.approx(
        spend.prompt_tokens * 0.5e-6 + spend.completion_tokens * 2e-6
    )
