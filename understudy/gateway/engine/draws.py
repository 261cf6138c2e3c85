"""The next token of every row, each drawn in its own way, and what is noted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.models.drawing import choose, first_reached

_NEVER = float("-inf")
_LIKELY = 1024  # tokens among which a nucleus is looked for before all are sorted


@dataclass(frozen=True, slots=True)
class Way:
    """How a row's next token is drawn."""

    temperature: float = 0.0
    top_p: float = 1.0
    uniform: float = 1.0  # in (0, 1]: what decides
    allowed: Tensor | None = None  # (vocabulary,) the tokens that may be drawn; None: all
    top: int | None = None  # how many likeliest tokens are wanted; None: not even its own

    @property
    def plain(self) -> bool:
        return self.temperature == 0 and self.allowed is None and self.top is None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token and what the model says of itself there, before temperature, nucleus and grammar:
    so a threshold that was fitted on greedy answers means the same."""

    token: int
    logprob: float
    margin: float  # the raw logit of asking less the best other
    entropy: float
    top: tuple[tuple[int, float], ...] = ()  # likeliest tokens and their log-probabilities


@torch.no_grad()
def draw(logits: Tensor, ask: int, ways: Sequence[Way]) -> list[Drawn]:
    """A token for every row of logits (rows, vocabulary); asking is forbidden.

    What is noted is what `models.drawing.choose` notes of a greedy drawing.
    """
    logits = logits.float()
    special = [row for row, way in enumerate(ways) if not way.plain]
    raw = logits[special].clone()
    tokens, noted = choose(logits.clone(), ask, 0.0, _NEVER, None)
    columns = [tokens.tolist(), *(noted[kind].tolist() for kind in (0, 2, 3))]
    drawn = [Drawn(*each) for each in zip(*columns, strict=True)]
    if not special:
        return drawn
    raw[:, ask] = _NEVER
    totals = raw.logsumexp(dim=1)
    own = _tokens(raw, [ways[row] for row in special])
    logprobs = raw.gather(1, own[:, None]).squeeze(1) - totals
    for place, row in enumerate(special):
        greedy, count = drawn[row], min(ways[row].top or 0, raw.shape[1])
        values, ids = raw[place].topk(count)
        top = zip(ids.tolist(), (values - totals[place]).tolist(), strict=True)
        drawn[row] = Drawn(
            int(own[place]), float(logprobs[place]), greedy.margin, greedy.entropy, tuple(top)
        )
    return drawn


def _tokens(raw: Tensor, ways: Sequence[Way]) -> Tensor:
    """(rows,) drawn from logits (rows, vocabulary), which stay as they are."""
    device = raw.device
    bound = {row: way.allowed for row, way in enumerate(ways) if way.allowed is not None}
    if bound:
        allowed = torch.ones_like(raw, dtype=torch.bool)
        for row, mask in bound.items():
            allowed[row] = mask
        raw = raw.masked_fill(~allowed, _NEVER)
    found = raw.argmax(dim=1)
    warm = [row for row, way in enumerate(ways) if way.temperature > 0]
    if not warm:
        return found
    temperatures = torch.tensor([ways[row].temperature for row in warm], device=device)
    scaled = raw[warm]
    weights = ((scaled - scaled.amax(dim=1, keepdim=True)) / temperatures[:, None]).exp()
    for place, row in enumerate(warm):
        if ways[row].top_p < 1:
            weights[place] = nucleus(weights[place], ways[row].top_p)
    uniforms = torch.tensor([ways[row].uniform for row in warm], dtype=torch.float64)
    found[warm] = first_reached(weights, uniforms.to(device))
    return found


def nucleus(weights: Tensor, share: float) -> Tensor:
    """Weights (vocabulary,) with 0 in place of all but the likeliest tokens that together have a
    share of the whole; the likeliest always stays.

    >>> nucleus(torch.tensor([1.0, 0.25, 0.5, 0.25]), 0.7)
    tensor([1.0000, 0.0000, 0.5000, 0.0000])
    """
    wanted = share * weights.sum()
    for count in (min(_LIKELY, len(weights)), len(weights)):
        values, places = weights.topk(count)
        before = values.cumsum(dim=0) - values
        if before[-1] >= wanted or count == len(weights):
            break
    kept = places[before < wanted] if share > 0 else places[:1]
    kept = kept if len(kept) else places[:1]
    return torch.zeros_like(weights).scatter_(0, kept, weights[kept])
