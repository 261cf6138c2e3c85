"""What drawing would have noted, of tokens that another engine drew."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from understudy.models.decoder import Decoder
from understudy.models.foreign import Foreign
from understudy.models.request import ends
from understudy.models.sampling import (
    Completions,
    Drawing,
    Prompts,
    Stops,
    Written,
)

_LOGITS = 1 << 24  # held at once: 64 MB in float32, and a few times that beside them


@torch.no_grad()
def noted(
    model: Decoder | Foreign, prompts: Prompts, written: Written, stops: Stops, drawing: Drawing
) -> tuple[Completions, Tensor]:
    """Given tokens as if this model had drawn them, and their log-probabilities without
    temperature and shift, (samples, positions)."""
    mask = written.mask
    values = torch.zeros(5, *mask.shape, device=mask.device)
    for logits, taken, rows, columns in _logits(model, prompts, written):
        values[:, rows, columns] = _values(logits, taken, stops.ask, drawing)
    last = written.tokens.gather(1, mask.sum(dim=1, keepdim=True) - 1).squeeze(1)
    asked = last == stops.ask
    logprobs, asking, margins, entropy, raw = values.unbind(0)
    tokens = written.tokens.masked_fill(~mask, stops.end)
    finished = asked | stops.ending(last)
    drawn = Completions(tokens, mask, logprobs, asking, margins, entropy, asked, finished)
    return drawn, raw


def _logits(
    model: Decoder | Foreign, prompts: Prompts, written: Written
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """(logits, tokens, rows, columns) of every token, some at a time."""
    everyone = torch.arange(len(written.tokens))
    if isinstance(model, Foreign) and not model.plain_head:
        for part in model.parts(prompts, written, everyone):
            yield model.logits_at(part), part.taken, part.rows, part.columns
        return
    network = model.model if isinstance(model, Foreign) else model
    _, head = ends(network)
    size = max(1, _LOGITS // len(head.weight))
    for states, part in _states(model, prompts, written, everyone):
        given = (states, part.taken, part.rows, part.columns)
        for some in zip(*(tensor.split(size) for tensor in given), strict=True):
            yield head(some[0]).float(), some[1], some[2], some[3]
