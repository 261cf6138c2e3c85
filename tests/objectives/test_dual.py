"""The price of asking: cases by hand, and slopes that survive saturation."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from understudy.objectives import (
    clearing_price,
    dual_advantage,
    dual_step,
    logit_shift,
    proportional_integral_step,
    rate_anchor,
    sequence_ask_probability,
)

shares = st.floats(0, 1)


def test_dual_step_by_hand() -> None:
    assert dual_step(0.5, usage=0.8, budget=0.3, rate=0.1) == pytest.approx(0.55)
    assert dual_step(0.02, usage=0.0, budget=0.3, rate=0.1) == 0.0
    assert dual_step(0.5, usage=0.3, budget=0.3, rate=0.1) == 0.5


def test_proportional_integral_by_hand() -> None:
    # I = 0.5 + 0.1 * 0.2 = 0.52, price = 0.52 + 2 * 0.2 = 0.92.
    step = proportional_integral_step(0.5, error=0.2, gain=2.0, rate=0.1, maximum=1.0)
    assert step == pytest.approx((0.92, 0.52))
    # The price is clamped while the integral is not yet: 0.55 + 1 > 1; and below zero.
    assert proportional_integral_step(0.5, 0.5, 2.0, 0.1, 1.0) == pytest.approx((1.0, 0.55))
    assert proportional_integral_step(0.5, -0.5, 2.0, 0.1, 1.0) == pytest.approx((0.0, 0.45))


@given(st.floats(0, 2), shares, shares, st.floats(0, 1))
def test_without_gain_it_is_the_dual_step(
    price: float, usage: float, budget: float, rate: float
) -> None:
    step = proportional_integral_step(price, usage - budget, 0.0, rate, math.inf)
    assert step == (dual_step(price, usage, budget, rate),) * 2


def test_the_integral_does_not_wind_up() -> None:
    # A thousand batches over the budget, then the price comes down on the first one under it.
    integral = 0.0
    for _ in range(1000):
        price, integral = proportional_integral_step(integral, 0.7, 0.5, 0.1, 1.0)
    assert (price, integral) == (1.0, 1.0)
    price, integral = proportional_integral_step(integral, -0.3, 0.5, 0.1, 1.0)
    assert price == pytest.approx(1.0 - 0.03 - 0.15)


def test_ask_probability_by_hand() -> None:
    # 1 - (1 - 0.5)(1 - 0.2) = 0.6; the second row may ask at its first position only.
    ask_logprob = tensor([[0.5, 0.2], [0.5, 0.2]]).log()
    asking = sequence_ask_probability(ask_logprob, tensor([[1, 1], [1, 0]]))
    assert_close(asking, tensor([0.6, 0.5]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_ask_probability_is_one_minus_the_product(probabilities: list[float]) -> None:
    ask_logprob = tensor([probabilities], dtype=torch.float64).log()
    asking = sequence_ask_probability(ask_logprob, torch.ones_like(ask_logprob))
    expected = 1 - math.prod(1 - p for p in probabilities)
    assert float(asking) == pytest.approx(expected, abs=1e-9)


def test_ask_probability_adds_up_what_rounding_would_lose() -> None:
    # 1000 positions at 1e-10 each: 1 - p is 1 in float32, the sum of them is not.
    ask_logprob = torch.full((1, 1000), math.log(1e-10))
    asking = sequence_ask_probability(ask_logprob, torch.ones(1, 1000))
    assert_close(asking, tensor([1e-7]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ask_probability_has_finite_gradients_at_the_ends(dtype: torch.dtype) -> None:
    # d/dlogp_t = p_t * prod_{s != t} (1 - p_s): by hand 1 * (1 - e^-1) and e^-1 * 0 in the first
    # row; 0 and e^-9 beside a -inf; masked positions get nothing, NaN included.
    rows = [[0.0, -1.0], [-math.inf, -9.0], [-math.inf, -math.inf], [-1.0, math.nan]]
    ask_logprob = tensor(rows, dtype=dtype, requires_grad=True)
    mask = tensor([[1, 1], [1, 1], [1, 1], [1, 0]])
    asking = sequence_ask_probability(ask_logprob, mask)
    assert asking.dtype == dtype
    one = math.exp(-1)
    assert_close(asking.tolist(), [1.0, math.exp(-9), 0.0, one])
    asking.sum().backward()
    assert ask_logprob.grad is not None
    slopes = [[1 - one, 0.0], [0.0, math.exp(-9)], [0.0, 0.0], [one, 0.0]]
    assert_close(ask_logprob.grad, tensor(slopes, dtype=dtype), rtol=1e-5, atol=1e-9)


def test_ask_probability_gradient_against_differences() -> None:
    ask_logprob = tensor([[0.3, 0.01], [0.9, 0.6]], dtype=torch.float64).log().requires_grad_()
    mask = torch.ones(2, 2)
    assert torch.autograd.gradcheck(lambda x: sequence_ask_probability(x, mask), [ask_logprob])


def test_rate_anchor_by_hand() -> None:
    # 0.5 ln(0.5 / 0.2) + 0.5 ln(0.5 / 0.8) = 0.2231; zero on the budget.
    assert_close(rate_anchor(tensor(0.2), 0.5), tensor(0.5 * math.log(0.25 / 0.16)))
    for budget in (0.0, 0.3, 1.0):
        assert float(rate_anchor(tensor(budget), budget)) == pytest.approx(0.0, abs=1e-6)
    # At the budget's ends only one term is left: -ln(1 - p) and -ln p.
    assert_close(rate_anchor(tensor(0.2), 0.0), tensor(-math.log(0.8)))
    assert_close(rate_anchor(tensor(0.2), 1.0), tensor(-math.log(0.2)))


@given(shares, shares)
def test_rate_anchor_is_finite_and_not_negative(mean: float, budget: float) -> None:
    anchor = float(rate_anchor(tensor(mean), budget))
    assert -1e-6 < anchor < math.inf


@pytest.mark.parametrize("budget", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("level", [-12.0, -8.0, -1.0, 0.0, 2.0, 8.0, 12.0])
def test_rate_anchor_pulls_at_both_ends(level: float, budget: float) -> None:
    # Through one logit shared by all: p - budget, to the rounding of p in float32.
    logit = tensor(level, requires_grad=True)
    probability = torch.sigmoid(logit).expand(8).mean()
    rate_anchor(probability, budget).backward()
    assert logit.grad is not None
    expected = 1 / (1 + math.exp(-level)) - budget
    assert float(logit.grad) == pytest.approx(expected, rel=0.02, abs=1e-5)


def test_rate_anchor_passes_a_gradient_at_exact_ends() -> None:
    for end, sign in ((0.0, -1), (1.0, 1)):
        mean = tensor(end, requires_grad=True)
        rate_anchor(mean, 0.3).backward()
        assert mean.grad is not None
        assert 0 < float(mean.grad) * sign < math.inf


def test_clearing_price_by_hand() -> None:
    # Group 1: r (1, 0, 0), c (1, 0, 0): centred products 4/9 + 1/9 + 1/9 = 2/3 for both sums.
    # Group 2: r (1, 1, 0), c (1, 0, 0): covariance 1/3*2/3 - 1/3*1/3 + 2/3*1/3 = 1/3, again 2/3.
    # Group 3 asks as one: nothing.  The invalid fourth samples: nothing.
    nan = float("nan")
    reward = tensor([[1.0, 0.0, 0.0, nan], [1.0, 1.0, 0.0, nan], [1.0, 0.0, 0.0, nan]])
    asked = tensor([[1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]]).bool()
    valid = ~reward.isnan()
    assert clearing_price(reward, asked, valid) == pytest.approx((1.0, 4 / 3))


def test_at_the_clearing_price_asking_is_worth_nothing() -> None:
    random = torch.Generator().manual_seed(3)
    reward = torch.rand(6, 8, generator=random)
    asked = torch.rand(6, 8, generator=random) < 0.4
    covariance, variance = clearing_price(reward, asked)
    advantage = dual_advantage(reward, asked, covariance / variance)
    assert float(advantage[asked].sum()) == pytest.approx(0.0, abs=1e-5)


def shifted_mean(probabilities: Tensor, shift: float) -> float:
    return float(torch.sigmoid(torch.logit(probabilities.double()) + shift).mean())


def test_logit_shift_by_hand() -> None:
    # One probability: logit(0.8) - logit(0.5) = ln 4.  A symmetric set is at 0.5 already.
    assert logit_shift(tensor([0.5]), 0.8) == pytest.approx(math.log(4))
    assert logit_shift(tensor([0.1, 0.5, 0.9]), 0.5) == pytest.approx(0.0, abs=1e-6)
    assert logit_shift(tensor([0.1, 0.5, 0.9]), 0.0) == -20.0
    assert logit_shift(tensor([0.1, 0.5, 0.9]), 1.0) == 20.0
    assert logit_shift(torch.zeros(0), 0.5) == 0.0


def test_logit_shift_leaves_the_certain_alone() -> None:
    # With one sample certain to ask and one certain not to, the third makes up the difference.
    shift = logit_shift(tensor([0.0, 1.0, 0.5]), 0.6)
    assert shift == pytest.approx(math.log(4))
    # A mean of at least 1/3 cannot be brought down to 0.1.
    assert logit_shift(tensor([0.0, 1.0, 0.5]), 0.1) == -20.0


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_logit_shift_meets_its_target(probabilities: list[float], target: float) -> None:
    values = tensor(probabilities, dtype=torch.float64)
    assert shifted_mean(values, logit_shift(values, target)) == pytest.approx(target, abs=1e-6)


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=8))
def test_logit_shift_is_monotone(probabilities: list[float]) -> None:
    shifts = [logit_shift(tensor(probabilities), t / 10) for t in range(11)]
    assert all(lower <= higher for lower, higher in itertools.pairwise(shifts))
