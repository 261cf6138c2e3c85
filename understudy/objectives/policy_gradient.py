"""Policy-gradient losses per token, and the reductions that turn them into one number.

Shapes: token tensors and masks are (samples, tokens), advantages (samples,).  A mask is 1 on the
local policy's own response tokens, 0 on padding and on whatever the cloud wrote.

A row whose advantage is exactly 0 has a loss and a gradient of exactly 0, so it may be left out
of the tensors (it need not be run through the model at all) as long as the mean still counts it.
Every reduction therefore takes its count from the rows it sees, or, as `samples`, `tokens` or
`prompts`, from the caller who left some out.  With a divergence added to the loss no row is zero.
"""

import torch
from torch import Tensor


def clipped_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantage: Tensor,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
) -> Tensor:
    """The clipped surrogate of PPO and GRPO per token (arXiv:1707.06347, arXiv:2402.03300).

    -min(rho * A, clip(rho, 1 - epsilon, 1 + epsilon_high) * A), rho = exp(logp - old logp).
    `epsilon_high` defaults to `epsilon`; a larger one is DAPO's clip-higher (arXiv:2503.14476).
    logprobs, old_logprobs: (samples, tokens); advantage: (samples,); returns (samples, tokens).
    """
    upper = epsilon if epsilon_high is None else epsilon_high
    ratio = torch.exp(logprobs - old_logprobs)
    clipped = ratio.clamp(1 - epsilon, 1 + upper)
    by_token = advantage.unsqueeze(1)
    return -torch.minimum(ratio * by_token, clipped * by_token)


def clip_fraction(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantage: Tensor,
    mask: Tensor,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
) -> tuple[float, float]:
    """The shares of masked-in tokens whose gradient the clip removes: (low, high).

    Low: rho < 1 - epsilon where A < 0.  High: rho > 1 + epsilon_high where A > 0.
    logprobs, old_logprobs, mask: (samples, tokens); advantage: (samples,).
    """
    upper = epsilon if epsilon_high is None else epsilon_high
    ratio = torch.exp(logprobs.detach() - old_logprobs.detach())
    by_token = advantage.unsqueeze(1)
    tokens = max(int(mask.sum()), 1)
    low = (ratio < 1 - epsilon) & (by_token < 0) & mask.bool()
    high = (ratio > 1 + upper) & (by_token > 0) & mask.bool()
    return int(low.sum()) / tokens, int(high.sum()) / tokens


def reinforce_loss(logprobs: Tensor, advantage: Tensor) -> Tensor:
    """-A * logp per token: no ratio, no clip (GAPG, arXiv:2509.24050; DA-GRPO, arXiv:2602.00166).

    logprobs: (samples, tokens); advantage: (samples,); returns (samples, tokens).
    """
    return -advantage.unsqueeze(1) * logprobs


def k3_divergence(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """GRPO's estimate of KL(policy || reference) per token: exp(d) - d - 1, d = ref - logp.

    Never negative, and unbiased for tokens sampled from the policy (arXiv:2402.03300, eq. 4).
    That holds for its value; for an unbiased gradient too, multiply it by the ratio, exp(logp -
    old logp) (DeepSeek-V3.2, arXiv:2512.02556).
    logprobs, reference_logprobs: (samples, tokens); returns (samples, tokens).
    """
    difference = reference_logprobs - logprobs
    return torch.exp(difference) - difference - 1


def mean_of_sequence_means(loss: Tensor, mask: Tensor, samples: int | None = None) -> Tensor:
    """Mean over each response's tokens, then over responses (GRPO, arXiv:2402.03300, eq. 3).

    loss, mask: (samples, tokens); returns a scalar.  A response without tokens counts as 0.
    """
    means = _masked(loss, mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return means.sum() / max(loss.shape[0] if samples is None else samples, 1)


def mean_of_tokens(loss: Tensor, mask: Tensor, tokens: int | None = None) -> Tensor:
    """Mean over all tokens of the batch, long responses weighing more (DAPO, arXiv:2503.14476).

    loss, mask: (samples, tokens); returns a scalar.
    """
    return _masked(loss, mask).sum() / max(int(mask.sum()) if tokens is None else tokens, 1)


def mean_over_max_length(
    loss: Tensor, mask: Tensor, max_length: int, samples: int | None = None
) -> Tensor:
    """Sum over tokens / (samples * max_length): no length bias (Dr. GRPO, arXiv:2503.20783).

    loss, mask: (samples, tokens); max_length: the longest completion allowed; returns a scalar.
    """
    count = loss.shape[0] if samples is None else samples
    return _masked(loss, mask).sum() / max(count * max_length, 1)


def mean_of_groups(loss: Tensor, mask: Tensor, prompts: int, group: int) -> Tensor:
    """Sum over tokens / (prompts * (group - 1)) (GAPG, arXiv:2509.24050; DA-GRPO).

    With group-centred advantages and `reinforce_loss` its gradient is an unbiased estimate of
    -grad E[r]: a mean that includes the sample itself shrinks it by (group - 1) / group.
    loss, mask: (samples, tokens), any subset of the prompts * group rows; returns a scalar.
    """
    return _masked(loss, mask).sum() / max(prompts * (group - 1), 1)


def reduce_loss(
    loss: Tensor,
    mask: Tensor,
    loss_type: str,
    *,
    group: int,
    max_completion_length: int,
    samples: int | None = None,
    tokens: int | None = None,
) -> Tensor:
    """Reduce by name: "grpo", "dapo", "dr_grpo" (TRL's names) or "dagrpo" (`mean_of_groups`).

    loss, mask: (samples, tokens); returns a scalar.  `samples` and `tokens` count the full batch
    where rows of zero advantage were left out; samples must then be a multiple of the group.
    """
    count = loss.shape[0] if samples is None else samples
    match loss_type:
        case "grpo":
            return mean_of_sequence_means(loss, mask, count)
        case "dapo":
            return mean_of_tokens(loss, mask, tokens)
        case "dr_grpo":
            return mean_over_max_length(loss, mask, max_completion_length, count)
        case "dagrpo":
            if count % group or group < 2:
                raise ValueError(
                    f"samples={count} with group={group}: loss_type='dagrpo' needs whole groups "
                    "of at least 2; where rows were left out, pass the full batch's samples"
                )
            return mean_of_groups(loss, mask, count // group, group)
    raise ValueError(f"loss_type={loss_type!r} is not one of 'grpo', 'dapo', 'dr_grpo', 'dagrpo'")


def _masked(loss: Tensor, mask: Tensor) -> Tensor:
    # Filled, not multiplied: padding may hold infinities, and 0 * inf is not 0.
    return loss.masked_fill(~mask.bool(), 0.0)
