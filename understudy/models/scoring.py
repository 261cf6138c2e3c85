"""Reading given tokens once more: log-probabilities with their gradient, and what drawing notes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from understudy.models.ask_head import head_pairs
from understudy.models.branches import Forest, grow, packed, plant
from understudy.models.decoder import Decoder
from understudy.models.drawing import noted_of
from understudy.models.request import ends
from understudy.models.sampling import (
    TOKENS_AT_ONCE,
    Completions,
    Drawing,
    Prompts,
    Stops,
    Written,
    shifted_logprobs,
)
from understudy.models.transformers_model import Part, TransformersModel

_LOGITS = 1 << 24  # held at once without gradient: 64 MB in float32, and a few times that beside


def score(
    model: Decoder | TransformersModel,
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
        (_states(model, part) if _plain(model) else _own_pairs(model, part, ask, drawing), part)
        for part in _parts(model, prompts, completions, rows, tokens_at_once)
    ]
    if not read:
        return found[0], found[1]
    pairs = torch.cat([states for states, _ in read])
    if _plain(model):
        taken, how = torch.cat([part.taken for _, part in read]), drawing
        pairs = head_pairs(_head(model), pairs, taken, ask, how.temperature, how.ask_shift)
    row, column = (torch.cat([getattr(part, at) for _, part in read]) for at in ("rows", "columns"))
    both = torch.arange(2, device=row.device)[:, None]
    found = found.index_put((both, row, column), pairs.T.to(found.dtype))
    return found[0], found[1]


@torch.no_grad()
def noted(
    model: Decoder | TransformersModel,
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
    for part in _parts(model, prompts, written, torch.arange(len(mask)), TOKENS_AT_ONCE):
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


def _parts(
    model: Decoder | TransformersModel,
    prompts: Prompts,
    completions: Completions | Written,
    rows: Tensor,
    tokens_at_once: int,
) -> Iterator[Forest | Part]:
    """The rows named, those of similar length together; the built-in decoder reads a prompt once
    for all of its rows."""
    if isinstance(model, TransformersModel):
        yield from model.parts(prompts, completions, rows, tokens_at_once)
        return
    group = completions.tokens.shape[0] // prompts.ids.shape[0]
    trees = grow(
        _bare(prompts.ids, prompts.mask),
        _bare(completions.tokens[rows], completions.mask[rows]),
        (rows // group).tolist(),
    )
    for start, stop in packed([len(tree.tokens) for tree in trees], tokens_at_once):
        yield plant(trees[start:stop], prompts.ids.device)


def _states(model: Decoder | TransformersModel, part: Forest | Part) -> Tensor:
    """Final states (tokens, hidden size) where a part's tokens are foretold."""
    if isinstance(part, Part):
        assert isinstance(model, TransformersModel)
        return model.states(part)
    assert isinstance(model, Decoder)
    states = model.branch(part.tokens, part.positions, part.visible)
    return states.flatten(0, 1).index_select(0, part.reads)


def _logits(
    model: Decoder | TransformersModel, part: Forest | Part
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """(logits, tokens, rows, columns) of a part, a few tokens at a time."""
    if isinstance(model, TransformersModel) and not model.plain_head:
        assert isinstance(part, Part)
        yield model.logits_at(part), part.taken, part.rows, part.columns
        return
    head = _head(model)
    given = (_states(model, part), part.taken, part.rows, part.columns)
    few = (tensor.split(max(1, _LOGITS // len(head.weight))) for tensor in given)
    for states, taken, rows, columns in zip(*few, strict=True):
        yield head(states).float(), taken, rows, columns


def _own_pairs(
    model: Decoder | TransformersModel, part: Forest | Part, ask: int, drawing: Drawing
) -> Tensor:
    """What `head_pairs` gives, from logits that are a model's own making."""
    assert isinstance(model, TransformersModel)
    assert isinstance(part, Part)

    def pairs() -> Tensor:
        logprobs = shifted_logprobs(model.logits_at(part), ask, drawing)
        taken = logprobs.gather(1, part.taken[:, None]).squeeze(1)
        return torch.stack((taken, logprobs[:, ask]), dim=1)

    if not torch.is_grad_enabled():
        return pairs()
    again: Tensor = checkpoint(pairs, use_reentrant=False)  # else all tokens' logits are kept
    return again


def _plain(model: Decoder | TransformersModel) -> bool:
    """Whether its logits are the product of its head with the final states."""
    return isinstance(model, Decoder) or model.plain_head


def _head(model: Decoder | TransformersModel) -> torch.nn.Linear:
    return ends(model.model if isinstance(model, TransformersModel) else model)[1]


def _bare(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """Rows without their padding."""
    parts: tuple[Tensor, ...] = ids[mask].split(mask.sum(dim=1).tolist())
    return [part.tolist() for part in parts]
