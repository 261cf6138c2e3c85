"""Drawing one token per row from its logits, in little memory at a large vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_BLOCK = 128  # of the vocabulary: a token is found by the sums of blocks, then within its block
# Probabilities are counted in whole numbers, the largest as this one. Sums of half a million are
# exact in 63 bits, so the token that they lead to does not depend on how they are summed.
_WHOLE = 2.0**44


def choose(
    logits: Tensor, ask: int, temperature: float, ask_shift: float, uniforms: Tensor | None
) -> tuple[Tensor, Tensor]:
    """A token for every row, and what is noted of it: its log-probability, that of asking, the
    raw logit of asking less the best other, and the entropy; (rows,) and (4, rows).

    logits: (rows, vocabulary) in float32, overwritten: rows times vocabulary is much memory.
    uniforms: (rows,) in (0, 1]; without them the likeliest token is taken. Temperature 0 is
    taken as 1.
    """

    def chosen(weights: Tensor, scaled: Tensor) -> Tensor:
        return scaled.argmax(dim=1) if uniforms is None else first_reached(weights, uniforms)

    return _noting(logits, ask, temperature, ask_shift, chosen)


def noted_of(
    logits: Tensor, taken: Tensor, ask: int, temperature: float, ask_shift: float
) -> Tensor:
    """What `choose` would have noted of given tokens, taken: (rows,); logits are overwritten."""
    return _noting(logits, ask, temperature, ask_shift, lambda *_: taken)[1]


def _noting(
    logits: Tensor,
    ask: int,
    temperature: float,
    ask_shift: float,
    choice: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """As `choose`, of what a choice makes of the weights and the logits that they come from."""
    temperature = temperature or 1.0
    asking = logits[:, ask].clone()
    logits[:, ask] = float("-inf")
    best = logits.amax(dim=1)
    margin = asking - best
    if temperature != 1.0:
        logits.div_(temperature)
    logits[:, ask] = asking / temperature + ask_shift
    top = torch.maximum(best / temperature, logits[:, ask])
    weights = logits.sub_(top[:, None]).exp()
    tokens = choice(weights, logits)
    total = weights.sum(dim=1)
    log_total = total.log()
    asking = logits[:, ask] - log_total
    taken = logits.gather(1, tokens[:, None]).squeeze(1) - log_total
    # Nothing times a logarithm of -inf is to be 0, not NaN.
    spread = weights.mul_(logits.clamp_(min=-1e4)).sum(dim=1)
    return tokens, torch.stack((taken, asking, margin, log_total - spread / total))


def first_reached(weights: Tensor, uniforms: Tensor) -> Tensor:
    """The first token at which the cumulated weight reaches a uniform part of the whole: (rows,).

    weights: (rows, vocabulary), the largest of each row being 1; uniforms: (rows,), above 0, so
    that a token without weight is never first. Only blocks are cumulated, and one block's tokens.
    """
    rows, vocabulary = weights.shape
    blocks = -(-vocabulary // _BLOCK)
    counts = torch.empty(rows, blocks * _BLOCK, dtype=torch.long, device=weights.device)
    counts[:, :vocabulary] = weights * _WHOLE
    counts[:, vocabulary:] = 0
    counts = counts.view(rows, blocks, _BLOCK)
    reached = counts.sum(dim=2).cumsum(dim=1)
    whole = reached[:, -1:]
    target = (uniforms[:, None] * whole).ceil().long().clamp(min=1).minimum(whole)
    block = torch.searchsorted(reached, target).clamp(max=blocks - 1)  # NaN is reached nowhere
    inside = counts.take_along_dim(block[:, :, None], dim=1).squeeze(1).cumsum(dim=1)
    before = reached.gather(1, block) - inside[:, -1:]
    place = torch.searchsorted(inside, target - before)
    return (block * _BLOCK + place).squeeze(1).clamp(max=vocabulary - 1)
