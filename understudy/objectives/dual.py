"""The price of asking: how it moves, and what holds the rate of asking to its budget."""

import math

import torch
from torch import Tensor

from understudy.objectives.advantages import centre

LARGEST_SHIFT = 20.0


def dual_step(price: float, usage: float, budget: float, rate: float) -> float:
    """Projected dual ascent, max(0, price + rate * (usage - budget)) (DA-GRPO, arXiv:2602.00166).

    usage: the share of the batch's samples that asked; budget: the share allowed.
    """
    return max(0.0, price + rate * (usage - budget))


def proportional_integral_step(
    integral: float, error: float, gain: float, rate: float, maximum: float
) -> tuple[float, float]:
    """One step of a PI controller of the price: returns (price, integral).

    I <- clamp(I + rate * error, 0, maximum), then price = clamp(I + gain * error, 0, maximum),
    error = usage - budget.  With gain = 0 and no maximum it is `dual_step`; the proportional term
    damps the oscillation that a pure integral has (PID Lagrangian methods, arXiv:2007.03964).
    Clamping the integral itself is the anti-windup: while every sample asks, or none does, the
    price has no effect on the policy, and an unbounded integral would take as long to unwind.
    """
    integral = min(max(integral + rate * error, 0.0), maximum)
    return min(max(integral + gain * error, 0.0), maximum), integral


def sequence_ask_probability(ask_logprob: Tensor, mask: Tensor) -> Tensor:
    """The probability that a response asks at any of its positions: 1 - prod_t (1 - p_t).

    p_t = pi(ask | prefix_t), given as its logarithm (which may be 0 or -inf).
    ask_logprob, mask: (samples, tokens), mask over the positions where asking was possible;
    returns (samples,).  The product is a sum of log(1 - p_t), so that many tiny p_t add up
    instead of rounding away.  The gradient, p_t * prod_{s != t} (1 - p_s), is finite everywhere.
    """
    never = ask_logprob.masked_fill(~mask.bool(), -math.inf)
    # In float64 with p_t <= 1 - 1e-10, log1p(-exp(x)) is accurate to 1e-6 at both ends.
    # The lower end is where exp is exactly 0: -inf has no gradient to pass on.
    logprob = _clamp_straight_through(never.double().clamp(min=-1e4), -1e4, -1e-10)
    return -torch.expm1(torch.log1p(-logprob.exp()).sum(dim=1)).to(ask_logprob.dtype)


def rate_anchor(mean_probability: Tensor, budget: float) -> Tensor:
    """KL(Bernoulli(budget) || Bernoulli(p)), p the mean probability of asking: zero at p = budget.

    The budget comes first so that the pull back grows without bound as p nears 0 or 1: through
    a shared logit its gradient is p - budget, which vanishes at neither end, where the sampled
    advantages of asking are all zero.  mean_probability: any shape, usually a scalar; returns the
    same shape.  p is kept one rounding step off 0 and 1, and the gradient passes through there.
    """
    eps = torch.finfo(mean_probability.dtype).eps
    probability = _clamp_straight_through(mean_probability, eps, 1 - eps)
    cross_entropy = -budget * torch.log(probability) - (1 - budget) * torch.log1p(-probability)
    return cross_entropy + _xlogx(budget) + _xlogx(1 - budget)


def ask_targets(gain: Tensor, budget: float, temperature: float) -> Tensor:
    """How likely each question should be asked: sigmoid(gain / temperature + o), mean = budget.

    The maximiser of sum_i [p_i * gain_i + temperature * entropy(p_i)] subject to mean p = budget;
    -temperature * o is the constraint's multiplier, the price at which this market clears.
    gain: (prompts,), what asking adds to a question's reward; returns (prompts,).
    """
    worth = torch.sigmoid(gain.double() / temperature)
    return torch.sigmoid(torch.logit(worth) + logit_shift(worth, budget)).to(gain.dtype)


def ask_guide(ask_probability: Tensor, target: Tensor) -> Tensor:
    """Mean KL(Bernoulli(target) || Bernoulli(p)): `rate_anchor`, question by question.

    ask_probability: (prompts, group); target: (prompts,).  Through each logit the gradient is
    p - target: it vanishes only where the question is asked as often as it should be.
    """
    if not len(target):
        return ask_probability.sum() * 0.0
    eps = torch.finfo(ask_probability.dtype).eps
    p = _clamp_straight_through(ask_probability, eps, 1 - eps)
    y = target[:, None]
    cross_entropy = -y * torch.log(p) - (1 - y) * torch.log1p(-p)
    return (cross_entropy + torch.xlogy(y, y) + torch.xlogy(1 - y, 1 - y)).mean()


def clearing_price(
    reward: Tensor, asked: Tensor, valid: Tensor | None = None
) -> tuple[float, float]:
    """(covariance, variance) whose ratio is the price at which asking is worth nothing on average.

    Sums over all groups of (r - mean r)(c - mean c) and of (c - mean c)^2, means within the group:
    covariance / variance is the least-squares slope of reward on asking, the marginal value of
    one more call.  Returned apart so that a caller may smooth each; variance is 0 where every
    group asks as one.  reward, asked, valid: (prompts, group).
    """
    reward_centred = centre(reward.double(), valid)
    asked_centred = centre(asked.double(), valid)
    covariance = (reward_centred * asked_centred).sum()
    return float(covariance), float(asked_centred.square().sum())


def logit_shift(probabilities: Tensor, target: float, iterations: int = 50) -> float:
    """The o for which mean_i sigmoid(logit(p_i) + o) = target, by bisection on [-20, 20].

    probabilities: (samples,).  The mean is monotone in o.  A target out of reach gives the nearer
    end: 0 gives -20, 1 gives 20, and probabilities of exactly 0 or 1 do not move at all.
    """
    if probabilities.numel() == 0:
        return 0.0
    logits = torch.logit(probabilities.detach().double())

    def mean_at(shift: float) -> float:
        return float(torch.sigmoid(logits + shift).mean())

    low, high = -LARGEST_SHIFT, LARGEST_SHIFT
    if mean_at(low) >= target:
        return low
    if mean_at(high) <= target:
        return high
    for _ in range(iterations):
        middle = (low + high) / 2
        if mean_at(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _clamp_straight_through(values: Tensor, low: float, high: float) -> Tensor:
    """Clamped values with the gradient of the unclamped: saturation must not hide the slope."""
    return values + (values.clamp(low, high) - values).detach()


def _xlogx(share: float) -> float:
    return share * math.log(share) if share > 0 else 0.0
