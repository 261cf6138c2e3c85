"""Drawing completions: a prompt is encoded once for its group, finished rows leave the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.models.branches import grow, plant
from understudy.models.decoder import Decoder, visibility_bias

# Rows are taken out of the batch once so few would be left: copying the cache has a price.
_COMPACT_BELOW = 0.8
_PROMPT_CHUNKS = 4  # prompts are encoded with others of similar length: less padding


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
    rows, length = prompts.ids.shape[0] * group, drawing.max_completion_length
    prefix, bias = _encoded(model, prompts)
    shape = (*prefix.shape[:2], rows, prefix.shape[3], length, prefix.shape[5])
    own = prefix.new_empty(shape)
    cos, sin = model.rotation(prefix.shape[4], length)
    record = _Record(rows, length, stops, prompts.ids.device)
    slots = torch.arange(rows, device=prompts.ids.device)
    tokens = prompts.ids[:, -1].repeat_interleave(group)
    for position in range(length):
        turn = cos[position : position + 1], sin[position : position + 1]
        hidden = model.step(tokens, prefix, bias, own, position, turn)
        tokens = record.draw(slots, position, model.head(hidden).float(), drawing, generator)
        going = (tokens != stops.end) & (tokens != stops.ask) & (slots < rows)
        slots = torch.where(going, slots, rows)
        alive = going.view(prefix.shape[2], -1)
        counts = alive.sum(dim=1)
        width, live = int(counts.max()), counts.nonzero().squeeze(1)
        if width == 0:
            break
        if len(live) * width < _COMPACT_BELOW * len(slots):
            first = alive[live].int().argsort(dim=1, descending=True, stable=True)[:, :width]
            keep = (live[:, None] * alive.shape[1] + first).flatten()
            slots, tokens, own = slots[keep], tokens[keep], own[:, :, keep]
            prefix, bias = prefix[:, :, live], bias[live]
    return record.completions()


def _encoded(model: Decoder, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Keys and values of the prompts but for their last token, and the bias over padding.

    (blocks, 2, prompts, heads, positions, head size) and (prompts, 1, 1, positions).
    """
    ids, mask, shape = prompts.ids[:, :-1], prompts.mask[:, :-1], model.shape
    count, width = ids.shape
    sizes = (shape.num_hidden_layers, 2, count, shape.num_key_value_heads, width, shape.head_dim)
    prefix = torch.zeros(sizes, dtype=model.head.weight.dtype, device=ids.device)
    lengths = mask.sum(dim=1)
    for part in lengths.argsort(stable=True).chunk(_PROMPT_CHUNKS):
        start = width - int(lengths[part].max())
        encoded = model.encode(ids[part, start:], mask[part, start:], start)
        for block, (keys, values) in enumerate(encoded):
            prefix[block, 0, part, :, start:] = keys.to(prefix.dtype)
            prefix[block, 1, part, :, start:] = values.to(prefix.dtype)
    return prefix, visibility_bias(mask[:, None, None], prefix.dtype)


class _Record:
    """The growing record of what was drawn, indexed by sample whatever row it decodes in.

    A row that decodes for nobody any more writes into the spare last sample.
    """

    def __init__(self, rows: int, length: int, stops: Stops, device: torch.device) -> None:
        self.stops = stops
        self.tokens = torch.full((rows + 1, length), stops.end, device=device)
        self.mask = torch.zeros(rows + 1, length, dtype=torch.bool, device=device)
        self.values = torch.zeros(4, rows + 1, length, device=device)
        self.longest = 0

    def draw(
        self,
        slots: Tensor,
        position: int,
        logits: Tensor,
        drawing: Drawing,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Choose the next token of every row and note it."""
        ask = self.stops.ask
        others = logits.clone()
        others[:, ask] = float("-inf")
        margin = logits[:, ask] - others.amax(dim=-1)
        logprobs = shifted_logprobs(logits, ask, drawing)
        probabilities = logprobs.exp()
        if drawing.temperature == 0:
            tokens = logprobs.argmax(dim=-1)
        else:  # the first token at which the cumulated probability reaches a uniform number
            reached = probabilities.cumsum(dim=-1, dtype=torch.float64)
            uniform = 1 - torch.rand(  # in (0, 1]: a token without probability is never first
                len(logits), 1, dtype=torch.float64, device=logits.device, generator=generator
            )
            tokens = torch.searchsorted(reached, uniform * reached[:, -1:]).squeeze(1)
            tokens = tokens.clamp(max=logits.shape[-1] - 1)  # NaN is reached nowhere
        entropy = -(probabilities * logprobs.clamp(min=-1e4)).sum(dim=-1)
        chosen = logprobs.gather(1, tokens[:, None]).squeeze(1)
        self.tokens[slots, position] = tokens
        self.mask[slots, position] = True
        noted = torch.stack((chosen, logprobs[:, ask], margin, entropy))
        self.values[:, slots, position] = noted
        self.longest = position + 1
        return tokens

    def completions(self) -> Completions:
        kept = self.longest
        tokens, mask = self.tokens[:-1, :kept], self.mask[:-1, :kept]
        last = tokens.gather(1, mask.sum(dim=1, keepdim=True) - 1).squeeze(1)
        asked = last == self.stops.ask
        logprobs, ask_logprobs, margins, entropy = self.values[:, :-1, :kept].unbind(0)
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

    Only the rows named are computed, each prompt once for all of its rows, and only the positions
    of drawn tokens pass through the head. Sequences are handled in `chunks` of similar length.
    """
    group = completions.tokens.shape[0] // prompts.ids.shape[0]
    found = torch.zeros(2, len(rows), completions.tokens.shape[1], device=prompts.ids.device)
    trees = grow(
        _bare(prompts.ids, prompts.mask),
        _bare(completions.tokens[rows], completions.mask[rows]),
        (rows // group).tolist(),
    )
    size = max(1, -(-len(trees) // chunks))
    scored, at = [], []
    for start in range(0, len(trees), size):
        forest = plant(trees[start : start + size], prompts.ids.device)
        hidden = model.branch(forest.tokens, forest.positions, forest.visible)
        read = hidden.flatten(0, 1).index_select(0, forest.reads)
        logprobs = shifted_logprobs(model.head(read).float(), ask, drawing)
        taken = logprobs.gather(1, forest.taken[:, None]).squeeze(1)
        scored.append(torch.stack((taken, logprobs[:, ask])))
        at.append(torch.stack((forest.rows, forest.columns)))
    if not scored:
        return found[0], found[1]
    row, column = torch.cat(at, dim=1)
    both = torch.arange(2, device=row.device)[:, None]
    found = found.index_put((both, row, column), torch.cat(scored, dim=1))
    return found[0], found[1]


def _bare(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """Rows without their padding."""
    parts: tuple[Tensor, ...] = ids[mask].split(mask.sum(dim=1).tolist())
    return [part.tolist() for part in parts]
