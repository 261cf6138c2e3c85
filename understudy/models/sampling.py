"""Drawing completions: a prompt is encoded once for its group, finished rows leave the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.models.decoder import Decoder

# Rows are taken out of the batch once this share of it has finished: copying the cache has a price.
_COMPACT_BELOW = 0.8


@dataclass(frozen=True, slots=True)
class Prompts:
    """Left-padded prompts: ids and mask, each (prompts, positions)."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Stops:
    """The tokens that end a completion."""

    end: int
    ask: int


@dataclass(frozen=True, slots=True)
class Written:
    """Completions that nobody drew: right-padded tokens and mask, each (samples, positions)."""

    tokens: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Completions:
    """What was drawn, a row per sample, the samples of a prompt side by side.

    tokens, mask, logprobs, ask_logprobs, ask_margins, entropy: (samples, positions);
    the mask covers every drawn token, its end or request included. logprobs are those of the
    tokens drawn, ask_logprobs those of asking at each position. ask_margins is the raw logit of
    asking less the best other logit: what a threshold on asking is held against.
    """

    tokens: Tensor
    mask: Tensor
    logprobs: Tensor
    ask_logprobs: Tensor
    ask_margins: Tensor
    entropy: Tensor
    asked: Tensor  # (samples,) the last token is the request for help
    finished: Tensor  # (samples,) ended by itself, not by the length limit


@dataclass(frozen=True, slots=True)
class Drawing:
    """How tokens are drawn. Temperature 0 is greedy; a shift of -inf never asks."""

    max_completion_length: int
    temperature: float = 1.0
    ask_shift: float = 0.0


@torch.no_grad()
def sample(
    model: Decoder,
    prompts: Prompts,
    group: int,
    stops: Stops,
    drawing: Drawing,
    generator: torch.Generator | None = None,
) -> Completions:
    """Draw `group` completions for every prompt, decoding all rows side by side."""
    device, width = prompts.ids.device, prompts.ids.shape[1] - 1
    rows, length = prompts.ids.shape[0] * group, drawing.max_completion_length
    cache, bias = _start_cache(model, prompts, group, length)
    rotation = model.rotation(width, length)
    record = _Record(rows, length, stops, device)
    alive = torch.arange(rows, device=device)
    slots, tokens = alive, prompts.ids[:, -1].repeat_interleave(group)
    for position in range(length):
        column = width + position
        turn = (rotation[0][position : position + 1], rotation[1][position : position + 1])
        hidden = model.step(tokens, cache, column, bias[..., : column + 1], turn)
        tokens = record.draw(slots, position, model.head(hidden).float(), drawing, generator)
        going = (tokens != stops.end) & (tokens != stops.ask) & (slots >= 0)
        slots = torch.where(going, slots, -1)
        count = int(going.sum())
        if count == 0:
            break
        if count < _COMPACT_BELOW * len(going):
            keep = going.nonzero().squeeze(1)
            slots, tokens, bias = slots[keep], tokens[keep], bias[keep]
            cache = cache[:, :, keep, :, :, :]
    return record.completions()


def _start_cache(
    model: Decoder, prompts: Prompts, group: int, length: int
) -> tuple[Tensor, Tensor]:
    """(blocks, 2, rows, heads, positions, head size) filled with the prompts, and the bias."""
    prefix = model.encode(prompts.ids[:, :-1], prompts.mask[:, :-1])
    count, heads, width, size = prefix[0][0].shape
    shape = (len(prefix), 2, count * group, heads, width + length, size)
    cache = prefix[0][0].new_empty(shape)
    for block, keys_values in enumerate(prefix):
        for which, part in enumerate(keys_values):
            cache[block, which, :, :, :width] = part.repeat_interleave(group, dim=0)
    bias = cache.new_zeros(count * group, 1, 1, width + length)
    hidden = ~prompts.mask[:, :-1].repeat_interleave(group, dim=0)
    bias[..., :width].masked_fill_(hidden[:, None, None, :], float("-inf"))
    return cache, bias


class _Record:
    """The growing record of what was drawn, indexed by sample whatever row it decodes in."""

    def __init__(self, rows: int, length: int, stops: Stops, device: torch.device) -> None:
        self.stops = stops
        self.tokens = torch.full((rows, length), stops.end, device=device)
        self.mask = torch.zeros(rows, length, dtype=torch.bool, device=device)
        self.values = torch.zeros(4, rows, length, device=device)
        self.longest = 0

    def draw(
        self,
        slots: Tensor,
        position: int,
        logits: Tensor,
        drawing: Drawing,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Choose the next token of every row and note it for the rows still going."""
        ask = self.stops.ask
        others = logits.clone()
        others[:, ask] = float("-inf")
        margin = logits[:, ask] - others.amax(dim=-1)
        logprobs = shifted_logprobs(logits, ask, drawing)
        probabilities = logprobs.exp()
        if drawing.temperature == 0:
            tokens = logprobs.argmax(dim=-1)
        else:  # the exponential race: argmax p / Exp(1) is a draw from p
            race = torch.empty_like(probabilities).exponential_(generator=generator)
            tokens = (probabilities / race).argmax(dim=-1)
        entropy = -(probabilities * logprobs.clamp(min=-1e4)).sum(dim=-1)
        chosen = logprobs.gather(1, tokens[:, None]).squeeze(1)
        noted = torch.stack((chosen, logprobs[:, ask], margin, entropy))
        row = (slots >= 0).nonzero().squeeze(1)
        where = slots[row]
        self.tokens[where, position] = tokens[row]
        self.mask[where, position] = True
        self.values[:, where, position] = noted[:, row]
        self.longest = position + 1
        return tokens

    def completions(self) -> Completions:
        kept = slice(0, self.longest)
        tokens, mask = self.tokens[:, kept], self.mask[:, kept]
        last = tokens.gather(1, mask.sum(dim=1, keepdim=True) - 1).squeeze(1)
        asked = last == self.stops.ask
        logprobs, ask_logprobs, margins, entropy = self.values[:, :, kept].unbind(0)
        finished = asked | (last == self.stops.end)
        noted = (logprobs, ask_logprobs, margins, entropy)
        return Completions(tokens, mask, *noted, asked, finished)


def shifted_logprobs(logits: Tensor, ask: int, drawing: Drawing) -> Tensor:
    """log softmax of the logits at a temperature, asking shifted. Temperature 0 is taken as 1.

    logits: (..., vocabulary). The shift is on the scale of log-probabilities, after temperature.
    """
    scaled = logits / (drawing.temperature or 1.0)
    if drawing.ask_shift != 0.0:
        shift = torch.zeros(logits.shape[-1], device=logits.device, dtype=scaled.dtype)
        shift[ask] = drawing.ask_shift
        scaled = scaled + shift
    return scaled.log_softmax(dim=-1)


def score(
    model: Decoder,
    prompts: Prompts,
    completions: Completions | Written,
    rows: Tensor,
    ask: int,
    drawing: Drawing,
    chunks: int = 4,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities, with gradient, of completions' tokens and of asking, each of shape
    (len(rows), positions).

    Only the rows named are computed, their prompts encoded once each, and only the positions of
    drawn tokens pass through the head. Rows are handled in `chunks` of similar length.
    """
    group = completions.tokens.shape[0] // prompts.ids.shape[0]
    owners, owner_of = torch.unique(rows // group, return_inverse=True)
    ids, mask = prompts.ids[owners], prompts.mask[owners]
    used = mask.any(dim=0).nonzero()[0].item() if len(owners) else 0
    ids, mask = ids[:, int(used) :], mask[:, int(used) :]
    prefix = model.encode(ids[:, :-1], mask[:, :-1])
    lengths = completions.mask[rows].sum(dim=1)
    width = completions.tokens.shape[1]
    found = torch.zeros(2, len(rows), width, device=ids.device)
    for part in torch.argsort(lengths, stable=True).chunk(chunks):
        longest = int(lengths[part].max())
        tokens = completions.tokens[rows[part], :longest]
        real = completions.mask[rows[part], :longest]
        owner = owner_of[part]
        given = torch.cat((ids[owner, -1:], tokens[:, :-1]), dim=1)
        own_prefix = [(keys[owner], values[owner]) for keys, values in prefix]
        hidden = model.continue_(given, own_prefix, mask[owner, :-1])[real]
        logprobs = shifted_logprobs(model.head(hidden).float(), ask, drawing)
        taken = logprobs.gather(1, tokens[real][:, None]).squeeze(1)
        where = real.nonzero()
        at = (part[where[:, 0]], where[:, 1])
        found = found.index_put(
            (torch.arange(2)[:, None], *at), torch.stack((taken, logprobs[:, ask]))
        )
    return found[0], found[1]
