"""Advantages: cases by hand, invariances, and what dividing by a spread does to a price."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from understudy.objectives import (
    batch_std_advantage,
    centre,
    dual_advantage,
    gapg_filter,
    group_std_advantage,
    has_signal,
    scaled_advantage,
)

NAN = float("nan")
numbers = st.floats(-8, 8, allow_nan=False)
groups = st.integers(2, 6).flatmap(
    lambda size: st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=1, max_size=4)
)


def doubles(rows: list[list[float]]) -> Tensor:
    return tensor(rows, dtype=torch.float64)


def test_centre_by_hand() -> None:
    # Means 0.25 and 2.
    values = tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 2.0]])
    expected = tensor([[0.75, -0.25, -0.25, -0.25], [-1.0, 0.0, 1.0, 0.0]])
    assert_close(centre(values), expected)


def test_a_spread_is_chosen_by_name() -> None:
    # Standard deviations: 0.5 in the first group, 0 in the second. Of all eight the squares add
    # to 2 and the mean is 3/8: sqrt((2 - 8 * (3/8)^2) / 7).
    reward = tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
    centred = tensor([[0.75, -0.25, -0.25, -0.25], [0.0, 0.0, 0.0, 0.0]])
    batch = (0.875 / 7) ** 0.5
    assert_close(scaled_advantage(reward, "none"), centred)
    assert_close(scaled_advantage(reward, "group"), centred / (0.5 + 1e-4))
    assert_close(scaled_advantage(reward, "batch"), centred / (batch + 1e-4))
    with pytest.raises(ValueError, match=r"'std'.*'batch'"):
        scaled_advantage(reward, "std")


def test_centre_skips_invalid_samples_whatever_they_hold() -> None:
    # The mean of (1, 0) is 0.5; the group without any valid sample is all zeros.
    values = tensor([[1.0, NAN, 0.0], [NAN, math.inf, -math.inf]])
    valid = tensor([[True, False, True], [False, False, False]])
    assert centre(values, valid).tolist() == [[0.5, 0.0, -0.5], [0.0, 0.0, 0.0]]


@given(numbers, st.integers(1, 9))
def test_equal_rewards_give_exact_zeros(reward: float, group: int) -> None:
    values = torch.full((2, group), reward)
    for advantage in (centre(values), group_std_advantage(values)):
        assert not has_signal(advantage).any()


@given(groups)
def test_centre_sums_to_zero_and_ignores_shifts(rows: list[list[float]]) -> None:
    values = doubles(rows)
    centred = centre(values)
    assert_close(centred.sum(dim=1), torch.zeros(len(rows), dtype=torch.float64))
    shift = torch.arange(len(rows), dtype=torch.float64).unsqueeze(1) - 3.5
    for advantage in (centre, group_std_advantage):
        assert_close(advantage(values + shift), advantage(values), atol=1e-6, rtol=0)
    # The batch's spread sees a shift of one group, not a shift of all.
    assert_close(batch_std_advantage(values - 7), batch_std_advantage(values), atol=1e-6, rtol=0)


@given(groups, st.data())
def test_invalid_samples_change_nothing(rows: list[list[float]], data: st.DataObject) -> None:
    # A group with failed samples is the group without them, in any of the advantages.
    kept = doubles(rows)
    failed = data.draw(st.sampled_from([NAN, math.inf, 0.0, 1e6]))
    padding = torch.full((len(rows), 1), failed, dtype=torch.float64)
    padded = torch.cat([kept[:, :1], padding, kept[:, 1:]], dim=1)
    valid = torch.ones_like(padded, dtype=torch.bool)
    valid[:, 1] = False
    for advantage in (centre, group_std_advantage, batch_std_advantage):
        result = advantage(padded, valid)
        assert (result[:, 1] == 0).all()
        assert_close(torch.cat([result[:, :1], result[:, 2:]], dim=1), advantage(kept))


def test_group_std_by_hand() -> None:
    # Centred (0.75, -0.25 * 3), sum of squares 0.75, over 3 degrees of freedom 0.25: std 0.5.
    advantage = group_std_advantage(tensor([[1.0, 0.0, 0.0, 0.0]]), eps=0.1)
    assert_close(advantage, tensor([[0.75, -0.25, -0.25, -0.25]]) / 0.6)


def test_group_of_one_valid_sample_has_no_advantage() -> None:
    valid = tensor([[False, True]])
    for advantage in (group_std_advantage, batch_std_advantage):
        assert advantage(tensor([[NAN, 3.0]]), valid).tolist() == [[0.0, 0.0]]


def test_batch_std_by_hand() -> None:
    # Rewards 1, 0, 4, 3: mean 2, squares 1 + 4 + 4 + 1 = 10, std sqrt(10 / 3) around it.
    advantage = batch_std_advantage(tensor([[1.0, 0.0], [4.0, 3.0]]), eps=0.0)
    assert_close(advantage, tensor([[0.5, -0.5], [0.5, -0.5]]) / math.sqrt(10 / 3))


def test_dual_by_hand() -> None:
    # Rewards centred (0.5, -0.5, 0.5, -0.5), asking centred (0.75, -0.25, -0.25, -0.25).
    reward = tensor([[1.0, 0.0, 1.0, 0.0]])
    asked = tensor([[True, False, False, False]])
    expected = tensor([[0.5 - 0.3, -0.5 + 0.1, 0.5 + 0.1, -0.5 + 0.1]])
    assert_close(dual_advantage(reward, asked, 0.4), expected)


@given(groups, st.data(), st.floats(0, 3))
def test_dual_is_the_centred_priced_reward(
    rows: list[list[float]], data: st.DataObject, price: float
) -> None:
    reward = doubles(rows)
    flags = st.lists(st.booleans(), min_size=reward.numel(), max_size=reward.numel())
    asked = tensor(data.draw(flags)).reshape(reward.shape)
    valid = tensor(data.draw(flags)).reshape(reward.shape)
    priced = centre(reward - price * asked.double(), valid)
    assert_close(dual_advantage(reward, asked, price, valid), priced)


@pytest.mark.parametrize("everyone", [True, False])
def test_price_has_no_effect_on_a_group_that_asks_as_one(everyone: bool) -> None:
    reward = tensor([[1.0, 0.0, 0.2]])
    asked = torch.full((1, 3), everyone)
    assert torch.equal(dual_advantage(reward, asked, 5.0), centre(reward))


def test_dividing_by_the_group_std_destroys_a_price() -> None:
    # One right answer worth 1 (local) or 0.3 (bought at a price of 0.7): normalised, the same.
    local, bought = tensor([[1.0, 0.0, 0.0, 0.0]]), tensor([[0.3, 0.0, 0.0, 0.0]])
    normalised = group_std_advantage(local, eps=0.0)
    assert_close(normalised, group_std_advantage(bought, eps=0.0))
    # The dual advantage keeps the difference: 0.75 against 0.75 - 0.7 * 0.75.
    reward, asked = tensor([[1.0, 0.0, 0.0, 0.0]]), tensor([[True, False, False, False]])
    assert_close(dual_advantage(reward, asked, 0.7)[0, 0], tensor(0.225))
    # Where all are right, a shaped reward's advantage of not asking is the same at any price.
    for price in (0.01, 0.5):
        shaped = 1 - price * tensor([[1.0, 1.0, 0.0, 0.0]])
        by_hand = tensor([[-0.5, -0.5, 0.5, 0.5]]) / math.sqrt(1 / 3)
        assert_close(group_std_advantage(shaped, eps=0.0), by_hand, rtol=1e-4, atol=0)


def test_has_signal_by_hand() -> None:
    advantage = tensor([[0.0, 0.0], [0.0, -1e-9], [0.5, -0.5]])
    assert has_signal(advantage).tolist() == [False, True, True]


def test_gapg_filter_by_hand() -> None:
    # D1 = prompts 0, 3, 6; floor(0.7 * 3) = 2 of the three that only the cloud solved: 1, 4, 7.
    local = tensor([True, False, False, True, False, False, True, False])
    cloud = tensor([True, True, False, False, True, False, False, True])
    assert gapg_filter(local, cloud, 0.7).nonzero().flatten().tolist() == [0, 1, 3, 4, 6]


def test_gapg_filter_draws_at_random_with_a_generator() -> None:
    local, cloud = torch.zeros(20, dtype=torch.bool), torch.ones(20, dtype=torch.bool)
    local[:10] = True
    drawn = [gapg_filter(local, cloud, 0.3, torch.Generator().manual_seed(s)) for s in range(20)]
    assert all(keep[:10].all() and int(keep.sum()) == 13 for keep in drawn)
    assert torch.stack(drawn).any(dim=0).all()
    assert torch.equal(drawn[4], gapg_filter(local, cloud, 0.3, torch.Generator().manual_seed(4)))


def test_gapg_filter_floor_survives_rounding() -> None:
    # 0.29 * 100 is 28.999999999999996 in floating point.
    local, cloud = torch.zeros(200, dtype=torch.bool), torch.ones(200, dtype=torch.bool)
    local[:100] = True
    assert int(gapg_filter(local, cloud, 0.29).sum()) == 129


def test_gapg_filter_keeps_nothing_without_local_success() -> None:
    # |D1| = 0 leaves no room for D2 either.
    assert not gapg_filter(torch.zeros(4, dtype=torch.bool), torch.ones(4).bool(), 1.0).any()
