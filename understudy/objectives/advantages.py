"""Advantages: how much better than its group each sampled response did.

Shapes: reward, asked and valid are (prompts, group).  `valid` marks the samples that have a
reward; a failed call has none.  An invalid sample's advantage is exactly 0, and it enters no mean
and no spread, whatever its reward entry holds (NaN included).
"""

import math

import torch
from torch import Tensor


def centre(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Subtract the group's mean: v_i - mean_j v_j, the mean over valid samples.

    values, valid: (prompts, group); returns (prompts, group).  A group of equal values gives
    exact zeros: values are measured from the group's smallest, so that no rounding of the mean
    can pass for a signal.
    """
    valid = _all_valid(values, valid)
    smallest = values.masked_fill(~valid, math.inf).amin(dim=1, keepdim=True)
    risen = (values - smallest).masked_fill(~valid, 0.0)
    mean = risen.sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1)
    return (risen - mean).masked_fill(~valid, 0.0)


def group_std_advantage(reward: Tensor, valid: Tensor | None = None, eps: float = 1e-4) -> Tensor:
    """GRPO's advantage, (r_i - mean r) / (std r + eps) within the group (arXiv:2402.03300).

    reward, valid: (prompts, group); returns (prompts, group).  The standard deviation is the
    unbiased one, as in TRL's scale_rewards="group".  It rescales whatever the reward contains: a
    price inside the reward loses its meaning here, see `dual_advantage`.
    """
    valid = _all_valid(reward, valid)
    centred = centre(reward, valid)
    freedom = (valid.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    std = (centred.square().sum(dim=1, keepdim=True) / freedom).sqrt()
    return centred / (std + eps)


def batch_std_advantage(reward: Tensor, valid: Tensor | None = None, eps: float = 1e-4) -> Tensor:
    """Centred in the group, divided by the spread of the batch (arXiv:2508.08221).

    (r_i - mean_group r) / (std_batch r + eps), the unbiased standard deviation of all valid
    rewards about their common mean, as in TRL's scale_rewards="batch".
    reward, valid: (prompts, group); returns (prompts, group).
    """
    valid = _all_valid(reward, valid)
    batch = centre(reward.reshape(1, -1), valid.reshape(1, -1))
    freedom = (valid.sum() - 1).clamp(min=1)
    std = (batch.square().sum() / freedom).sqrt()
    return centre(reward, valid) / (std + eps)


def scaled_advantage(reward: Tensor, scale_rewards: str, valid: Tensor | None = None) -> Tensor:
    """By TRL's name of what the centred reward is divided by: "group", "batch" or "none".

    reward, valid: (prompts, group); returns (prompts, group).
    """
    match scale_rewards:
        case "group":
            return group_std_advantage(reward, valid)
        case "batch":
            return batch_std_advantage(reward, valid)
        case "none":
            return centre(reward, valid)
    raise ValueError(f"scale_rewards={scale_rewards!r} is not one of 'group', 'batch', 'none'")


def dual_advantage(
    reward: Tensor, asked: Tensor, price: float, valid: Tensor | None = None
) -> Tensor:
    """Task advantage minus the priced advantage of asking (DA-GRPO, arXiv:2602.00166).

    A_i = (r_i - mean r) - price * (c_i - mean c), c_i = 1 where the response asked.
    reward, asked, valid: (prompts, group); returns (prompts, group).  Equal to
    centre(reward - price * asked), and never divided by a spread: that would rescale the price.
    """
    return centre(reward, valid) - price * centre(asked.to(reward.dtype), valid)


def has_signal(advantage: Tensor) -> Tensor:
    """The prompts of which any sample has a nonzero advantage; the others give no gradient.

    advantage: (prompts, group); returns a bool mask (prompts,).
    """
    return (advantage != 0).any(dim=1)


def gapg_filter(
    local_success: Tensor,
    cloud_success: Tensor,
    rho: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """GAPG's adaptive prompt filtering (arXiv:2509.24050): keep D1 and a share of D2.

    D1: prompts with a locally correct sample.  D2: up to floor(rho * |D1|) prompts without one
    that the cloud answered right for an asker, in order of appearance, or drawn at random when a
    generator is given.  The share of calls that training then tends to is rho / (1 + rho).
    local_success, cloud_success: bool (prompts,); returns the bool mask of prompts to keep.
    """
    candidates = (~local_success & cloud_success).nonzero().flatten()
    if generator is not None:
        order = torch.randperm(len(candidates), generator=generator, device=generator.device)
        candidates = candidates[order.to(candidates.device)]
    # The small addend keeps 0.29 * 100 = 28.999999999999996 from losing a prompt.
    room = math.floor(rho * int(local_success.sum()) + 1e-9)
    keep = local_success.clone()
    keep[candidates[:room]] = True
    return keep


def _all_valid(values: Tensor, valid: Tensor | None) -> Tensor:
    return torch.ones_like(values, dtype=torch.bool) if valid is None else valid.bool()
