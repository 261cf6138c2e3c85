"""Log-probabilities of tokens without the logits of all tokens at once.

The logits of 4,096 tokens over a vocabulary of 151,936 are 2.5 GB, and training holds them about
three times. Here they come in tiles of a few thousand words of the vocabulary, of which only a
running maximum and sum are kept; the backward pass computes each tile again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Logits held at once, 64 MB in float32. As long as all of them fit, one tile that is kept for the
# backward pass is faster than one that is computed twice (bench/logprob_memory.py).
TILE = 1 << 24
_CACHED = 1 << 22  # held at once on a CPU where they do not all fit: few enough for its cache
_TOKENS = 4096  # per tile: the more, the less often the head's weight is read


def pair_logprobs(
    hidden: Tensor,
    weight: Tensor,
    taken: Tensor,
    ask: int,
    temperature: float = 1.0,
    ask_shift: float = 0.0,
    tile: int = TILE,
) -> Tensor:
    """Log-probabilities (tokens, 2), with gradient, of the tokens taken and of asking.

    hidden: (tokens, hidden size); weight: (vocabulary, hidden size), the head's; taken: (tokens,).
    Temperature and shift are those of `shifted_logits`; at most `tile` logits are held at once.
    Under autocast the products are in its type, all sums in float32.
    """
    if len(hidden) * len(weight) > tile:
        found: Tensor = _PairLogprobs.apply(  # type: ignore[no-untyped-call]
            hidden, weight, taken, ask, temperature or 1.0, ask_shift, tile
        )
        return found
    logits = _wide(F.linear(hidden, weight))
    logprobs = shifted_logits(logits, ask, temperature, ask_shift).log_softmax(dim=-1)
    return torch.stack((logprobs.gather(1, taken[:, None]).squeeze(1), logprobs[:, ask]), dim=1)


def shifted_logits(logits: Tensor, ask: int, temperature: float, ask_shift: float) -> Tensor:
    """Logits (..., vocabulary) at a temperature, that of asking then shifted.

    Temperature 0 is taken as 1. The shift is on the scale of log-probabilities.
    """
    scaled = logits / (temperature or 1.0)
    if ask_shift != 0.0:
        shift = torch.zeros(logits.shape[-1], device=logits.device, dtype=scaled.dtype)
        shift[ask] = ask_shift
        scaled = scaled + shift
    return scaled


class _PairLogprobs(torch.autograd.Function):
    """Tiles of (some tokens, some of the vocabulary), in the forward and in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        taken: Tensor,
        ask: int,
        temperature: float,
        ask_shift: float,
        tile: int,
    ) -> Tensor:
        kind = hidden.device.type
        cast = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if cast else weight.dtype
        tiles = _Tiles(hidden, weight, taken, ask, temperature, ask_shift, tile, dtype)
        with torch.autocast(kind, enabled=False):
            pairs, totals = tiles.read()
        ctx.save_for_backward(hidden, weight, taken, totals)
        ctx.rest = (ask, temperature, ask_shift, tile, dtype)
        return pairs - totals[:, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, taken, totals = ctx.saved_tensors
        tiles = _Tiles(hidden, weight, taken, *ctx.rest)
        with torch.autocast(hidden.device.type, enabled=False):
            return *tiles.gradients(gradient, totals, *ctx.needs_input_grad[:2]), *(None,) * 5


class _Tiles:
    """Shifted logits, tile by tile, and what is summed over them."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        taken: Tensor,
        ask: int,
        temperature: float,
        ask_shift: float,
        tile: int,
        dtype: torch.dtype,
    ) -> None:
        self.hidden, self.weight, self.taken, self.dtype = hidden, weight, taken, dtype
        self.ask, self.temperature, self.ask_shift = ask, temperature, ask_shift
        self.rows = max(1, min(_TOKENS, len(hidden)))
        at_once = min(tile, _CACHED) if hidden.device.type == "cpu" else tile
        self.columns = max(1, at_once // self.rows)
        self.wide = torch.promote_types(dtype, torch.float32)

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Slices of the tokens, and their hidden states."""
        for start in range(0, len(self.hidden), self.rows):
            part = slice(start, start + self.rows)
            yield part, self.hidden[part].to(self.dtype)

    def tiles(self, hidden: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Slices of the vocabulary, the head's rows, and the logits: the reader may overwrite."""
        for start in range(0, len(self.weight), self.columns):
            columns = slice(start, start + self.columns)
            weight = self.weight[columns].to(self.dtype)
            logits = _wide(hidden @ weight.T)
            if self.temperature != 1.0:
                logits.div_(self.temperature)
            if 0 <= self.ask - start < len(weight):
                logits[:, self.ask - start] += self.ask_shift
            yield columns, weight, logits

    def read(self) -> tuple[Tensor, Tensor]:
        """Logits (tokens, 2) of the tokens taken and of asking, and the log of all exponentials."""
        count = len(self.hidden)
        pairs = self.hidden.new_zeros(count, 2, dtype=self.wide)
        totals = self.hidden.new_empty(count, dtype=self.wide)
        for part, hidden in self.parts():
            # Finite, since a tile may hold nothing but a forbidden request.
            top = torch.full_like(totals[part], torch.finfo(self.wide).min)
            total = torch.zeros_like(top)
            for columns, weight, logits in self.tiles(hidden):
                place, inside = self._taken(part, columns, len(weight))
                found = logits.gather(1, place[:, None]).squeeze(1)
                pairs[part, 0] = torch.where(inside, found, pairs[part, 0])
                if 0 <= self.ask - columns.start < len(weight):
                    pairs[part, 1] = logits[:, self.ask - columns.start]
                higher = torch.maximum(top, logits.amax(dim=1))
                total = total * (top - higher).exp()
                total += logits.sub_(higher[:, None]).exp_().sum(dim=1)
                top = higher
            totals[part] = top + total.log()
        return pairs, totals

    def gradients(
        self, gradient: Tensor, totals: Tensor, of_hidden: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Of the hidden states and of the head's weight, from that (tokens, 2) of the pairs."""
        # Summed in float32: sums rounded to bf16 tile by tile would add up to a bias.
        to_hidden = torch.zeros_like(self.hidden, dtype=self.wide) if of_hidden else None
        to_weight = torch.zeros_like(self.weight, dtype=self.wide) if of_weight else None
        for part, hidden in self.parts():
            to_taken, to_ask = gradient[part].to(self.wide).unbind(dim=1)
            for columns, weight, logits in self.tiles(hidden):
                # d log p(t) / d logit(v) = [v is t] - p(v)
                slope = logits.sub_(totals[part, None]).exp_().mul_(-(to_taken + to_ask)[:, None])
                place, inside = self._taken(part, columns, len(weight))
                slope.scatter_add_(1, place[:, None], (to_taken * inside)[:, None])
                if 0 <= self.ask - columns.start < len(weight):
                    slope[:, self.ask - columns.start] += to_ask
                if self.temperature != 1.0:
                    slope.div_(self.temperature)
                slope = slope.to(self.dtype)
                if to_hidden is not None:
                    _add_product(to_hidden[part], slope, weight)
                if to_weight is not None:
                    _add_product(to_weight[columns], slope.T, hidden)
        return (
            None if to_hidden is None else to_hidden.to(self.hidden.dtype),
            None if to_weight is None else to_weight.to(self.weight.dtype),
        )

    def _taken(self, part: slice, columns: slice, width: int) -> tuple[Tensor, Tensor]:
        """Where in a tile the tokens taken stand, and whether they do."""
        place = self.taken[part] - columns.start
        return place.clamp(0, width - 1), (place >= 0) & (place < width)


def _wide(logits: Tensor) -> Tensor:
    """At least float32."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b, in the wider type of `total`. A CPU rounds each product as autocast does."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    elif total.is_cuda:
        torch.addmm(total, a, b, out_dtype=total.dtype, out=total)
    else:
        total.add_(a @ b)
