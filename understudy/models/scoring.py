"""Reading given tokens once more: log-probabilities with their gradient, and what drawing notes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from understudy.models.ask_head import head_pairs
from understudy.models.drawing import noted_of
from understudy.models.local_model import LocalModel, Part
from understudy.models.sampling import (
    TOKENS_AT_ONCE,
    Completions,
    Drawing,
    Prompts,
    Stops,
    Written,
    shifted_logprobs,
)

_LOGITS = 1 << 24  # held at once without gradient: 64 MB in float32, and a few times that beside


def score(
    model: LocalModel,
    prompts: Prompts,
    completions: Completions | Written,
    rows: Tensor,
    ask: int,
    drawing: Drawing,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities, with gradient, of completions' tokens and of asking, each of shape
    (len(rows), positions).

    Only the rows named are computed, and only the positions of drawn tokens meet the head.
    Sequences of similar length pass the blocks together, as many as have `tokens_at_once` tokens;
    a row's numbers do not depend on the rows beside it.
    """
    shape = (2, len(rows), completions.tokens.shape[1])
    found = torch.zeros(shape, device=prompts.ids.device)
    read = [
        (_own_pairs(part, ask, drawing) if part.logits else part.states(), part)
        for part in model.parts(prompts, completions, rows, tokens_at_once)
    ]
    if not read:
        return found[0], found[1]
    pairs = torch.cat([states for states, _ in read])
    if read[0][1].logits is None:
        taken, how = torch.cat([part.taken for _, part in read]), drawing
        pairs = head_pairs(model.head, pairs, taken, ask, how.temperature, how.ask_shift)
    row, column = (torch.cat([getattr(part, at) for _, part in read]) for at in ("rows", "columns"))
    both = torch.arange(2, device=row.device)[:, None]
    found = found.index_put((both, row, column), pairs.T.to(found.dtype))
    return found[0], found[1]


def final_states(
    model: LocalModel, prompts: Prompts, completions: Completions | Written, rows: Tensor
) -> Tensor:
    """The states, with gradient, that predict completions' tokens: (len(rows), positions, width).

    0 where a completion has no token.
    """
    width = model.embedding.weight.shape[1]
    found = torch.zeros(len(rows), completions.tokens.shape[1], width, device=prompts.ids.device)
    for part in model.parts(prompts, completions, rows, TOKENS_AT_ONCE):
        found = found.index_put((part.rows, part.columns), part.states().to(found.dtype))
    return found


@torch.no_grad()
def noted(
    model: LocalModel,
    prompts: Prompts,
    written: Written,
    stops: Stops,
    drawing: Drawing,
) -> tuple[Completions, Tensor]:
    """Tokens that another engine drew, as if this model had drawn them, and their
    log-probabilities without temperature and shift: (samples, positions)."""
    mask = written.mask
    values = torch.zeros(5, *mask.shape, device=mask.device)
    how = stops.ask, drawing.temperature, drawing.ask_shift
    for part in model.parts(prompts, written, torch.arange(len(mask)), TOKENS_AT_ONCE):
        for logits, taken, rows, columns in _logits(model, part):
            raw = logits.gather(1, taken[:, None]).squeeze(1) - logits.logsumexp(dim=1)
            values[:, rows, columns] = torch.cat((noted_of(logits, taken, *how), raw[None]))
    tokens = written.tokens.masked_fill(~mask, stops.end)
    last = tokens.gather(1, mask.sum(dim=1, keepdim=True) - 1).squeeze(1)
    asked = last == stops.ask
    logprobs, asking, margins, entropy, raw = values.unbind(0)
    finished = asked | stops.ending(last)
    drawn = Completions(tokens, mask, logprobs, asking, margins, entropy, asked, finished)
    return drawn, raw


def _logits(model: LocalModel, part: Part) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """(logits, tokens, rows, columns) of a part, a few tokens at a time."""
    if part.logits:
        yield part.logits(), part.taken, part.rows, part.columns
        return
    given = (part.states(), part.taken, part.rows, part.columns)
    few = (tensor.split(max(1, _LOGITS // len(model.head.weight))) for tensor in given)
    for states, taken, rows, columns in zip(*few, strict=True):
        yield model.head(states).float(), taken, rows, columns


def _own_pairs(part: Part, ask: int, drawing: Drawing) -> Tensor:
    """What `head_pairs` gives, from logits that are a model's own making."""

    def pairs() -> Tensor:
        assert part.logits is not None
        logprobs = shifted_logprobs(part.logits(), ask, drawing)
        taken = logprobs.gather(1, part.taken[:, None]).squeeze(1)
        return torch.stack((taken, logprobs[:, ask]), dim=1)

    if not torch.is_grad_enabled():
        return pairs()
    again: Tensor = checkpoint(pairs, use_reentrant=False)  # else all tokens' logits are kept
    return again
