"""Keys and values of rows that attend together: one tensor per block, a row of it per request.

Rows join behind the last, and the last fills the place of one that leaves, so that what is read is
always one piece of memory. Rows are together by how much room they have, so a long answer does not
make short ones attend to emptiness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.gateway.engine.lane import SharedPrefix
from understudy.models.decoder import Decoder, KeysValues
from understudy.models.levels import attend_levels, room_for

_SMALLEST = 64  # positions of a row's own; it doubles
_STEP = 16  # what is read of a cohort grows by so many positions: products of few shapes


def capacity_for(length: int) -> int:
    """The room, in positions, of a row that is to hold so many tokens."""
    capacity = _SMALLEST
    while capacity < length:
        capacity *= 2
    return capacity


@dataclass(eq=False, slots=True)
class CohortRow:
    """A request's row: what it follows, and where its own keys and values lie."""

    version: str
    after: SharedPrefix | None
    cohort: Cohort
    place: int = 0
    length: int = 0  # tokens of its own
    joined: bool = False

    @property
    def read(self) -> int:
        return self.length + (self.after.count if self.after else 0)


class Cohort:
    """Rows of one version that follow the same prefix, or none, with equal room."""

    def __init__(
        self,
        network: Decoder,
        capacity: int,
        dtype: torch.dtype,
        after: SharedPrefix | None = None,
    ) -> None:
        self.network, self.capacity, self.dtype, self.after = network, capacity, dtype, after
        self.rows: list[CohortRow] = []
        self.past: list[KeysValues] = []
        self._places = self._lengths = torch.zeros(0, dtype=torch.long)
        self._end = 0
        self._bias: Tensor | None = None

    def add(self, row: CohortRow) -> None:
        """Let a row in, with all that it has read elsewhere."""
        if not self.past or len(self.rows) == len(self.past[0][1]):
            self._grow()
        place, count = len(self.rows), row.length
        if count:
            for new, old in zip(self.past, row.cohort.past, strict=True):
                for to, source in zip(new, old, strict=True):
                    to[place, :, :count] = source[row.place, :, :count]
        if row.cohort is not self:
            row.cohort.drop(row)
        row.cohort, row.place = self, place
        self.rows.append(row)

    def drop(self, row: CohortRow) -> None:
        """Let a row go; the last one takes its place."""
        if row not in self.rows:
            return
        last = self.rows.pop()
        if last is not row:
            for keys_values in self.past:
                for each in keys_values:
                    each[row.place, :, : last.length] = each[last.place, :, : last.length]
            self.rows[row.place], last.place = last, row.place

    def _grow(self) -> None:
        """Room for twice as many rows."""
        shape, weight = self.network.shape, self.network.embedding.weight
        rows = max(1, 2 * len(self.rows))
        size = (rows, shape.num_key_value_heads, self.capacity, shape.head_dim)
        past = [room_for(size, self.dtype, weight.device) for _ in self.network.blocks]
        for new, old in zip(past, self.past, strict=False):
            for to, source in zip(new, old, strict=True):
                to[: len(source)] = source
        self.past = past

    def begin(self) -> None:
        """Before a pass in which every row reads one token: where these go and what is seen."""
        device = self.network.embedding.weight.device
        lengths = [row.length for row in self.rows]
        self._lengths = torch.tensor(lengths, device=device)
        self._places = torch.arange(len(lengths), device=device)
        longest = max(lengths) + 1
        self._end = min(-(-longest // _STEP) * _STEP, self.capacity)
        columns = torch.arange(self._end, device=device)
        unseen = columns > self._lengths[:, None]
        bias = torch.zeros(unseen.shape, dtype=self.dtype, device=device)
        self._bias = bias.masked_fill_(unseen, float("-inf"))[:, None, None]

    def step(self, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of one new token of every row: all (1, heads, rows, head size)."""
        keys, values = self.past[block]
        keys[self._places, :, self._lengths] = k[0].transpose(0, 1).to(self.dtype)
        values[self._places, :, self._lengths] = v[0].transpose(0, 1).to(self.dtype)
        count = len(self.rows)
        levels = [(keys[:count, :, : self._end], values[:count, :, : self._end])]
        biases = [self._bias]
        if self.after is not None:
            levels, biases = [self.after.kept[block], *levels], [None, *biases]
        found = attend_levels(q[0].transpose(0, 1)[:, :, None], levels, biases)
        return found[:, :, 0].transpose(0, 1)[None]


def read_piece(row: CohortRow, block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of a piece of one row's prompt: all (1, heads, tokens, head size)."""
    past: Any = row.cohort.past[block]
    dtype, start, count = row.cohort.dtype, row.length, q.shape[2]
    for kept, new in zip(past, (k, v), strict=True):
        kept[row.place, :, start : start + count] = new[0].to(dtype)
    keys, values = (kept[row.place, :, : start + count][None] for kept in past)
    if row.after is not None:
        before = row.after.kept[block]
        keys = torch.cat((before[0], keys), dim=2)
        values = torch.cat((before[1], values), dim=2)
    seen = keys.shape[2]
    visible = torch.ones(count, seen, dtype=torch.bool, device=q.device).tril(seen - count)
    shared = q.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(shared, dim=1), values.repeat_interleave(shared, dim=1)
    return F.scaled_dot_product_attention(q.to(dtype), keys, values, attn_mask=visible)
