"""Recipe understudy by hand: what asking gains, what it is worth, and what is imitated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import tensor

from tests.offload.runs import config_of, drawn_figures, first_experience
from understudy.objectives.terms import AnswerTerm
from understudy.offload.learn import answer_losses
from understudy.offload.scores import Scores
from understudy.recipes.understudy import (
    Market,
    Understudy,
    gain_of_asking,
    local_failures,
    mended_by_asking,
)


def scores(reward: list[list[float]], asked: list[list[int]], failed: int | None = None) -> Scores:
    """Right where the reward is 1; the calls of prompt `failed` got no reply."""
    found, asks = tensor(reward), tensor(asked).bool()
    valid = torch.ones_like(asks)
    if failed is not None:
        valid[failed] = ~asks[failed]
    return Scores(
        reward=found,
        valid=valid,
        **drawn_figures(asks),
        local_right=(found == 1) & ~asks,
        formed=~asks,
        cloud_right=((found == 1) & asks).any(dim=1),
        token_ask_probability=torch.full((40,), 0.1),
    )


SCORES = scores(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]],
    [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]],
    failed=3,
)


def market(**settings: Any) -> Understudy:
    return Understudy(config_of("understudy", Path("unused"), **settings))


def test_the_gain_of_asking_by_hand() -> None:
    gain, known = gain_of_asking(SCORES)
    # Nobody answered the third alone, and the fourth got no reply.
    assert known.tolist() == [True, True, False, False]
    assert gain[known].tolist() == [1.0, -1.0]


def test_local_failures_by_hand() -> None:
    # Of those that answered: 3 of 3 wrong, none of 2, nobody answered, 1 of 3.
    assert local_failures(SCORES) == pytest.approx((1 + 0 + 1 + 1 / 3) / 4)


def test_what_asking_mends_by_hand() -> None:
    # The first: 1 of 4 asked, all 3 answers wrong, the cloud right. The second: 2 of 4 asked, both
    # answers right, the cloud wrong. Nobody answered the third; the fourth got no reply.
    assert mended_by_asking(SCORES) == pytest.approx((1 / 4 - 2 / 4, 1 / 4))
    half = scores([[1.0, 1.0, 0.0, 1.0]], [[0, 0, 0, 1]])  # 2 of 3 right, mended by a third
    assert mended_by_asking(half) == pytest.approx((1 / 12, 1 / 12))


def batch_of(local: float, cloud: float, rate: float, rng: np.random.Generator) -> Scores:
    """32 prompts, each answered right with chance `local` by one of 8, and asked by chance."""
    asks = rng.random((32, 8)) < rate
    helped = rng.random(32)[:, None] < cloud
    reward = np.where(asks, helped, rng.random((32, 8)) < local)
    return scores(reward.astype(float).tolist(), asks.astype(int).tolist())


def test_asking_ends_where_the_cloud_gains_nothing_and_comes_back_where_it_does() -> None:
    rng, recipe = np.random.default_rng(0), market()
    dual, rates = recipe.start(), []
    for step in range(90):
        local, cloud = ((0.9, 0.8), (0.3, 0.95), (0.5, 0.5))[step // 30]
        rate = recipe._target(dual, 0.3)
        rates.append(rate)
        dual = recipe.next_dual(dual, batch_of(local, cloud, rate, rng), 0.3)
    assert max(rates[15:30]) < 0.05
    assert min(rates[40:60]) > 0.28  # within ten steps of the switch
    assert max(rates[80:]) < 0.12
    assert rates[0] == 0.3


def test_the_guide_pulls_asking_to_where_it_gains() -> None:
    recipe = market(budget=0.5, price__guide=1.0)
    probability = torch.full((4, 4), 0.5, requires_grad=True)
    recipe.asking_loss(SCORES, 0.5, probability).backward()
    assert probability.grad is not None
    first, second, *unknown = probability.grad.sum(dim=1).tolist()
    assert first < 0 < second  # descent raises the first, where the cloud was better
    assert unknown == [0.0, 0.0]


def test_the_clearing_price_is_the_smoothed_slope() -> None:
    # Within groups: sums of (r - mean r)(c - mean c) 0.75 and -1, of (c - mean c)^2 0.75 and 1.
    one = scores([[1.0, 0.0, 0.0, 0.0]], [[1, 0, 0, 0]])
    other = scores([[0.0, 0.0, 1.0, 1.0]], [[1, 1, 0, 0]])
    recipe = market(price__smoothing=0.8, price__maximum=10.0)
    first = recipe.next_dual(recipe.start(), one, 0.3)
    assert first.price == pytest.approx(1.0)
    assert recipe.next_dual(first, one, 0.3).price == pytest.approx(1.0)
    mixed = recipe.next_dual(first, scores([[0.5, 0.0, 0.0, 0.0]], [[1, 0, 0, 0]]), 0.3)
    assert mixed.price == pytest.approx((0.8 * 0.75 + 0.375) / (0.8 * 0.75 + 0.75))
    assert recipe.next_dual(first, other, 0.3).price == 0.0  # never below
    assert market(price__maximum=0.4).next_dual(recipe.start(), one, 0.3).price == 0.4
    everyone = recipe.next_dual(recipe.start(), scores([[1.0, 0.0]], [[1, 1]]), 0.3)
    assert everyone.price == recipe.start().price  # no slope, no news


def test_the_shift_takes_half_the_way_to_the_rate() -> None:
    # 40 tokens at 0.1 are 4 calls of 16 responses; a budget of 1/2 needs 0.2 a token.
    recipe = market(price__spare=False, price__trend=False)
    step = float(torch.logit(tensor(0.2)) - torch.logit(tensor(0.1)))
    dual = recipe.next_dual(Market(price=0.5, shift=1.0), SCORES, 0.5)
    assert dual.shift == pytest.approx(1.0 + step / 2, abs=1e-5)
    assert recipe.next_dual(Market(price=0.5, shift=1.0), SCORES, 0.0).shift == 1.0
    dual = market(price__spare=False).next_dual(Market(price=0.5, shift=1.0), SCORES, 0.5)
    assert dual.trend == pytest.approx((3 - 2 * 2**0.5) * step, abs=1e-5)  # critically damped
    assert dual.shift == pytest.approx(1.0 + step / 2 + dual.trend, abs=1e-5)


@pytest.mark.parametrize(("trend", "low", "high"), [(True, 0.195, 0.205), (False, 0.28, 0.31)])
def test_the_rate_is_held_while_learning_moves_the_request(
    trend: bool, low: float, high: float
) -> None:
    """A request whose logit learning raises by 0.25 a step. Half steps stay 0.5 behind, which at
    a budget of 0.2 is a rate of 0.29; with the trend nothing is left."""
    recipe, dual = market(price__spare=False, price__trend=trend), Market(price=0.5)
    rates = []
    for step in range(60):
        logit = -1.0 + 0.25 * step + dual.shift
        rates.append(float(torch.sigmoid(tensor(logit))))
        chances = torch.full((16,), rates[-1])
        dual = recipe.next_dual(dual, replace(SCORES, token_ask_probability=chances), 0.2)
    assert low < sum(rates[-20:]) / 20 < high
    assert max(rates[1:]) < 0.5


def test_the_trend_of_a_shift_that_is_at_its_end_is_forgotten() -> None:
    recipe, dual = market(price__spare=False), Market(price=0.5)
    nobody = replace(SCORES, token_ask_probability=torch.zeros(16))
    for _ in range(10):
        dual = recipe.next_dual(dual, nobody, 0.2)
    assert (dual.shift, dual.trend) == (20.0, 0.0)


def test_learning_an_answer_does_not_unlearn_to_ask(model: Path) -> None:
    config = config_of("understudy", model, cloud__accuracy=1.0, batch_size=16)
    state, helpers, experience = first_experience(config, budget=0.5)
    term = AnswerTerm(experience.cloud_answers())
    assert term.examples
    (loss,) = answer_losses(state.policy, helpers.team, term, config)
    assert float(loss.detach()) > 0
    # The request's own row is read by its logit alone: no question or answer contains it.
    weights = state.policy.network.head.weight
    loss.backward()
    assert weights.grad is not None
    assert weights.grad[state.policy.tokens.ask].abs().max() == 0
    assert weights.grad.abs().max() > 0
