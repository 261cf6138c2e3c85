"""Policy-gradient losses: cases by hand, gradients, unbiasedness, and rows left out."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from understudy.objectives import (
    centre,
    clip_fraction,
    clipped_policy_loss,
    dual_advantage,
    k3_divergence,
    mean_of_groups,
    mean_of_sequence_means,
    mean_of_tokens,
    mean_over_max_length,
    reduce_loss,
    reinforce_loss,
)

LOSS_TYPES = ["grpo", "dapo", "dr_grpo", "dagrpo"]


def test_clipped_loss_by_hand() -> None:
    # Ratios 1.5, 1.1, 0.5 with A = 2: clipped at 1.2 above, never below.  With A = -1: the reverse.
    ratio = tensor([[1.5, 1.1, 0.5], [1.5, 1.1, 0.5]])
    loss = clipped_policy_loss(ratio.log(), torch.zeros(2, 3), tensor([2.0, -1.0]))
    assert_close(loss, tensor([[-2.4, -2.2, -1.0], [1.5, 1.1, 0.8]]))


def test_clip_higher_moves_only_the_upper_bound() -> None:
    # epsilon_high = 0.4: 1.5 is held at 1.4 instead; the low side (A = -1) stays at 0.8.
    ratio = tensor([[1.5, 0.5], [1.5, 0.5]])
    loss = clipped_policy_loss(ratio.log(), torch.zeros(2, 2), tensor([2.0, -1.0]), 0.2, 0.4)
    assert_close(loss, tensor([[-2.8, -1.0], [1.5, 0.8]]))


def test_clipped_tokens_have_no_gradient() -> None:
    logprobs = tensor([[1.5, 1.1, 0.5], [1.5, 1.1, 0.5]]).log().requires_grad_()
    clipped_policy_loss(logprobs, torch.zeros(2, 3), tensor([2.0, -1.0])).sum().backward()
    # -A * ratio where not clipped: d ratio / d logp = ratio.
    assert_close(logprobs.grad, tensor([[0.0, -2.2, -1.0], [1.5, 1.1, 0.0]]))


def test_clip_fraction_by_hand() -> None:
    # Row 1 (A > 0) is clipped at 1.5 only; row 2 (A < 0) at both 0.5, one of which is masked out;
    # row 3 (A = 0) nowhere.  Eight tokens are masked in.
    ratio = tensor([[1.5, 1.1, 0.5], [1.5, 0.5, 0.5], [9.0, 0.1, 1.0]])
    mask = tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]])
    advantage = tensor([2.0, -1.0, 0.0])
    shares = clip_fraction(ratio.log(), torch.zeros(3, 3), advantage, mask, 0.2, None)
    assert shares == (1 / 8, 1 / 8)
    higher = clip_fraction(ratio.log(), torch.zeros(3, 3), advantage, mask, 0.2, 0.6)
    assert higher == (1 / 8, 0.0)


def test_reinforce_is_the_clipped_loss_on_policy() -> None:
    # At ratio 1 both have the gradient -A; only the values differ (-A * logp against -A).
    logprobs = tensor([[-0.5, -1.0], [-2.0, -3.0]], requires_grad=True)
    advantage = tensor([0.5, -0.25])
    assert_close(reinforce_loss(logprobs, advantage), tensor([[0.25, 0.5], [-0.5, -0.75]]))
    (plain,) = torch.autograd.grad(reinforce_loss(logprobs, advantage).sum(), logprobs)
    surrogate = clipped_policy_loss(logprobs, logprobs.detach(), advantage)
    (clipped,) = torch.autograd.grad(surrogate.sum(), logprobs)
    assert_close(plain, tensor([[-0.5, -0.5], [0.25, 0.25]]))
    assert_close(clipped, plain)


def test_k3_by_hand() -> None:
    # d = ln 2, 0 and -ln 2: 2 - ln 2 - 1, 0, and 1/2 + ln 2 - 1.
    divergence = k3_divergence(tensor([[0.0, 0.0, 0.0]]), tensor([[2.0, 1.0, 0.5]]).log())
    assert_close(divergence, tensor([[1 - math.log(2), 0.0, math.log(2) - 0.5]]))


def test_k3_is_unbiased_for_the_divergence_and_with_the_ratio_for_its_gradient() -> None:
    reference = tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    logits = tensor([0.5, 0.3, 0.2], dtype=torch.float64).log().requires_grad_()
    logprobs = torch.log_softmax(logits, dim=0)
    policy = logprobs.exp().detach()
    exact = (logprobs.exp() * (logprobs - reference.log())).sum()
    sampled = k3_divergence(logprobs, reference.log())
    assert (sampled >= 0).all()
    assert_close((policy * sampled).sum(), exact)
    ratio = (logprobs - logprobs.detach()).exp()
    (expected,) = torch.autograd.grad((policy * ratio * sampled).sum(), logits, retain_graph=True)
    (gradient,) = torch.autograd.grad(exact, logits)
    assert_close(expected, gradient)


LOSS = tensor([[1.0, 2.0, 7.0], [3.0, 9.0, 9.0]])
MASK = tensor([[1, 1, 1], [1, 0, 0]])  # Sums 10 and 3, means 10/3 and 3.


def test_reductions_by_hand() -> None:
    assert_close(mean_of_sequence_means(LOSS, MASK), tensor((10 / 3 + 3) / 2))
    assert_close(mean_of_tokens(LOSS, MASK), tensor(13 / 4))
    assert_close(mean_over_max_length(LOSS, MASK, 5), tensor(13 / 10))
    assert_close(mean_of_groups(LOSS, MASK, prompts=1, group=2), tensor(13.0))
    assert_close(mean_of_groups(LOSS, MASK, prompts=2, group=4), tensor(13 / 6))


def test_reductions_with_the_counts_of_a_larger_batch_by_hand() -> None:
    assert_close(mean_of_sequence_means(LOSS, MASK, samples=4), tensor((10 / 3 + 3) / 4))
    assert_close(mean_of_tokens(LOSS, MASK, tokens=10), tensor(1.3))
    assert_close(mean_over_max_length(LOSS, MASK, 5, samples=4), tensor(13 / 20))


def test_reduce_loss_dispatches() -> None:
    reduced = [
        float(reduce_loss(LOSS, MASK, name, group=2, max_completion_length=5))
        for name in LOSS_TYPES
    ]
    assert reduced == pytest.approx([(10 / 3 + 3) / 2, 13 / 4, 13 / 10, 13.0])


def test_reduce_loss_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="'dapo'"):
        reduce_loss(LOSS, MASK, "DAPO", group=2, max_completion_length=5)
    with pytest.raises(ValueError, match="samples=2 with group=4"):
        reduce_loss(LOSS, MASK, "dagrpo", group=4, max_completion_length=5)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_masked_tokens_never_count(loss_type: str) -> None:
    # Padding may hold anything; the gradient there is zero too.
    loss = LOSS.clone()
    loss[1, 1], loss[1, 2] = math.inf, float("nan")
    loss.requires_grad_()
    result = reduce_loss(loss, MASK, loss_type, group=2, max_completion_length=5)
    expected = reduce_loss(LOSS, MASK.bool(), loss_type, group=2, max_completion_length=5)
    assert_close(result.detach(), expected)
    result.backward()
    assert loss.grad is not None
    assert loss.grad[1, 1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_no_rows_at_all_is_a_loss_of_zero(loss_type: str) -> None:
    empty = torch.zeros(0, 3, requires_grad=True)
    counts = {"samples": 4, "tokens": 12}
    mask = torch.zeros(0, 3)
    result = reduce_loss(empty, mask, loss_type, group=2, max_completion_length=3, **counts)
    result.backward()
    assert result == 0


@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_rows_of_zero_advantage_may_be_left_out(loss_type: str, clipped: bool, seed: int) -> None:
    """Same value and same gradient, through a shared parameter, from the rows that matter."""
    random = torch.Generator().manual_seed(seed)
    prompts, group, length, actions = 4, 3, 5, 6
    samples = prompts * group
    features = torch.randn(samples, length, actions, generator=random, dtype=torch.float64)
    chosen = torch.randint(actions, (samples, length, 1), generator=random)
    old = torch.randn(samples, length, generator=random, dtype=torch.float64) * 0.3 - 1.8
    mask = torch.rand(samples, length, generator=random) < 0.7
    # Rewards of 0, 1/2 and 1: some groups are equal throughout, and some means hit a reward.
    reward = torch.randint(3, (prompts, group), generator=random).double() / 2
    reward[0] = 1.0
    advantage = centre(reward).flatten()

    def value_and_gradient(rows: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.ones(actions, dtype=torch.float64, requires_grad=True)
        logits = torch.log_softmax(features[rows] * weights, dim=-1)
        logprobs = logits.gather(2, chosen[rows]).squeeze(2)
        kept = advantage[rows]
        loss = (
            clipped_policy_loss(logprobs, old[rows], kept)
            if clipped
            else reinforce_loss(logprobs, kept)
        )
        value = reduce_loss(
            loss,
            mask[rows],
            loss_type,
            group=group,
            max_completion_length=8,
            samples=samples,
            tokens=int(mask.sum()),
        )
        return value.detach(), torch.autograd.grad(value, weights)[0]

    everything = value_and_gradient(torch.arange(samples))
    needed = value_and_gradient((advantage != 0).nonzero().flatten())
    assert_close(needed, everything)


def test_the_dagrpo_gradient_is_unbiased() -> None:
    """All 9 groups of size 2 of a 3-action policy, weighted by their probability.

    J = E[r - price * c], of which the exact gradient by autograd must be what the expected
    estimate gives; with 1 / G in the place of 1 / (G - 1) it is half of that.
    """
    logits = tensor([0.3, -0.7, 0.1], dtype=torch.float64, requires_grad=True)
    reward = tensor([1.0, 0.2, 0.6], dtype=torch.float64)
    asks = tensor([False, False, True])
    price, group = 0.25, 2
    policy = torch.softmax(logits, dim=0)
    objective = (policy * (reward - price * asks.double())).sum()
    (exact,) = torch.autograd.grad(objective, logits)

    expected, shrunk = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for actions in itertools.product(range(3), repeat=group):
        chosen = tensor(actions)
        advantage = dual_advantage(reward[chosen].unsqueeze(0), asks[chosen].unsqueeze(0), price)
        logprobs = torch.log_softmax(logits, dim=0)[chosen].unsqueeze(1)
        loss = reinforce_loss(logprobs, advantage.flatten())
        mask = torch.ones(group, 1)
        probability = policy.detach()[chosen].prod()
        unbiased = mean_of_groups(loss, mask, prompts=1, group=group)
        (gradient,) = torch.autograd.grad(unbiased, logits, retain_graph=True)
        expected -= probability * gradient
        (gradient,) = torch.autograd.grad(mean_of_sequence_means(loss, mask), logits)
        shrunk -= probability * gradient
    assert_close(expected, exact)
    assert_close(shrunk, exact / 2)
