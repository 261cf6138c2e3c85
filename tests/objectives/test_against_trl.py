"""The same tensors through TRL's GRPOTrainer and through ours."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from understudy.objectives import (
    batch_std_advantage,
    centre,
    clip_fraction,
    clipped_policy_loss,
    group_std_advantage,
    k3_divergence,
    mean_of_tokens,
    reduce_loss,
)

pytest.importorskip("trl")

from tests.objectives import trl_reference

SCALED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "group": group_std_advantage,
    "batch": batch_std_advantage,
    "none": centre,
}
MAX_LENGTH = 9  # longer than any response here, so that dr_grpo differs from a mean

Case = dict[str, Any]


def rewards_of_all_kinds() -> Tensor:
    """(prompts, group): random, binary, all equal, and with failed samples as NaN."""
    reward = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    reward[1] = tensor([1.0, 0.0, 0.0, 1.0])
    reward[2] = 0.25
    reward[3, 1] = torch.nan
    reward[4, 2:] = torch.nan
    return reward


def loss_case(loss_type: str, epsilon_high: float | None, beta: float, weighted: bool) -> Case:
    """Six responses of uneven length, far enough off policy that both sides of the clip act.

    weighted: whether the divergence is multiplied by the ratio (TRL's default).
    """
    random = torch.Generator().manual_seed(1)
    logprobs = -3 * torch.rand(6, 7, generator=random)
    return {
        "options": {
            "loss_type": loss_type,
            "epsilon": 0.2,
            "epsilon_high": epsilon_high,
            "beta": beta,
            "use_bias_correction_kl": weighted,
            "max_completion_length": MAX_LENGTH,
        },
        "logprobs": logprobs.tolist(),
        "old_logprobs": (logprobs + 0.6 * torch.randn(6, 7, generator=random)).tolist(),
        "reference_logprobs": (logprobs + 0.5 * torch.randn(6, 7, generator=random)).tolist(),
        "mask": [[1] * length + [0] * (7 - length) for length in (7, 1, 4, 6, 2, 5)],
        "advantage": [0.9, -1.2, 0.0, -0.4, -0.1, 1.5],
    }


LOSS_CASES = [
    loss_case(loss_type, epsilon_high, *divergence)
    for loss_type, epsilon_high, divergence in itertools.product(
        ("grpo", "dapo", "dr_grpo"), (None, 0.28), ((0.0, False), (0.04, False), (0.04, True))
    )
]


@pytest.mark.parametrize("scale", SCALED)
def test_advantages(tmp_path: Path, scale: str) -> None:
    reward = rewards_of_all_kinds()
    ours = SCALED[scale](reward, ~reward.isnan()).flatten()
    expected = trl_reference.advantages(tmp_path, reward, scale)
    assert_close(ours, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("case", LOSS_CASES)
def test_loss_gradient_and_clipping(tmp_path: Path, case: Case) -> None:
    expected, options = trl_reference.loss(tmp_path, case), case["options"]
    names = ("old_logprobs", "reference_logprobs", "mask", "advantage")
    old, reference, mask, advantage = (tensor(case[name]) for name in names)
    logprobs = tensor(case["logprobs"], requires_grad=True)
    clip = (options["epsilon"], options["epsilon_high"])

    loss = clipped_policy_loss(logprobs, old, advantage, *clip)
    divergence = k3_divergence(logprobs, reference)
    if options["use_bias_correction_kl"]:
        divergence = (logprobs - old).exp() * divergence
    if options["beta"]:
        loss = loss + options["beta"] * divergence
        mean_divergence = mean_of_tokens(divergence.detach(), mask)
        assert_close(mean_divergence, tensor(expected["divergence"]))
    loss_type = options["loss_type"]
    value = reduce_loss(loss, mask, loss_type, group=6, max_completion_length=MAX_LENGTH)
    (gradient,) = torch.autograd.grad(value, logprobs)

    assert_close(value.detach(), expected["loss"], atol=1e-6, rtol=1e-5)
    assert_close(gradient, expected["gradient"], atol=1e-6, rtol=1e-5)
    low, high = clip_fraction(logprobs, old, advantage, mask, *clip)
    assert min(low, high) > 0, "the case must clip on both sides to compare anything"
    assert (low, high) == pytest.approx((expected["clip_low"], expected["clip_high"]))
