"""A lane of the built-in decoder: all tokens of a pass, steps and pieces of prompts alike, go
through its layers in one row, so that weights are read once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

import torch
from torch import Tensor

from understudy.gateway.engine.adapters import Adapters
from understudy.gateway.engine.cohorts import Cohort, CohortRow, capacity_for, read_piece
from understudy.gateway.engine.lane import KeptRow, SharedPrefix
from understudy.models.built_in import BuiltInModel
from understudy.models.decoder import KeysValues
from understudy.models.levels import room_for

Work = Sequence[tuple[CohortRow, Sequence[int]]]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class _Span:
    """Tokens side by side in a pass that attend in one way."""

    version: str
    tokens: list[int]
    positions: list[int]
    attend: Attend
    ends: list[tuple[CohortRow, int]]  # the last token of each row, counted within


class FlatLane:
    """Rows of one built-in decoder. dtype: of keys and values."""

    shares = True

    def __init__(self, model: BuiltInModel, adapters: Adapters, dtype: torch.dtype) -> None:
        self.model, self.network, self.adapters, self.dtype = model, model.network, adapters, dtype
        shape = self.network.shape
        width = shape.num_key_value_heads * shape.head_dim * dtype.itemsize
        self.token_size = 2 * shape.num_hidden_layers * width
        self._cohorts: dict[tuple[str, SharedPrefix | None, int], Cohort] = {}
        self._turns: KeysValues = self.network.rotation(0, 1)

    def open(
        self, version: str, room: int, after: SharedPrefix | None = None, alone: bool = False
    ) -> CohortRow:
        """alone: a copy of the prefix is the row's own, so that it attends with those who follow
        none."""
        assert after is None or after.version == version, "a prefix of another version"
        followed = None if alone else after
        room += after.count if after and alone else 0
        cohort = Cohort(self.network, capacity_for(room), self.dtype, followed)
        row = CohortRow(version, followed, cohort)
        cohort.add(row)
        if after and alone:
            self._fill(row, after.kept, after.count)
        return row

    def join(self, row: CohortRow) -> None:
        row.joined = True
        self._with_room(row)

    def close(self, row: CohortRow) -> None:
        row.cohort.drop(row)
        self._cohorts = {key: each for key, each in self._cohorts.items() if each.rows}

    def clear(self) -> None:
        self._cohorts = {}

    def keep(self, row: CohortRow) -> SharedPrefix:
        assert row.after is None, "a prefix follows no other"
        return SharedPrefix(row.version, row.length, self._own(row), row.length * self.token_size)

    def keep_row(self, row: CohortRow) -> KeptRow:
        size = row.length * self.token_size
        return KeptRow(row.version, row.after, row.read, self._own(row), size)

    def resume(self, kept: KeptRow, count: int, room: int) -> CohortRow:
        own = count - (kept.after.count if kept.after else 0)
        row = self.open(kept.version, room + own, kept.after)
        self._fill(row, kept.kept, own)
        return row

    def _own(self, row: CohortRow) -> list[KeysValues]:
        """A copy of a row's own keys and values."""
        shape = self.network.shape
        size = (1, shape.num_key_value_heads, row.length, shape.head_dim)
        kept = []
        for past in row.cohort.past:
            kept.append(room_for(size, self.dtype, self.model.device))
            for new, old in zip(kept[-1], past, strict=True):
                new[0] = old[row.place, :, : row.length]
        return kept

    def _fill(self, row: CohortRow, kept: Sequence[KeysValues], count: int) -> None:
        """Give a new row the first so many of some keys and values."""
        for new, old in zip(row.cohort.past, kept, strict=True):
            for to, source in zip(new, old, strict=True):
                to[row.place, :, :count] = source[0, :, :count]
        row.length = count

    @torch.no_grad()
    def read(self, work: Work) -> Tensor:
        spans = self._spans(work)
        x = self._embedded(spans)
        rotation = self._rotation([place for span in spans for place in span.positions])
        ends = [len(span.tokens) for span in spans]  # counted from the span before
        for number, block in enumerate(self.network.blocks):
            parts = (each.split(ends, dim=2) for each in block.project(x, rotation))
            attended = [
                span.attend(number, *part)
                for span, part in zip(spans, zip(*parts, strict=True), strict=True)
            ]
            x = block.finish(x, attended[0] if len(attended) == 1 else torch.cat(attended, dim=2))
        place: dict[CohortRow, int] = {}
        for start, span in zip(accumulate(ends, initial=0), spans, strict=False):
            place |= {row: start + end for row, end in span.ends}
        for row, tokens in work:
            row.length += len(tokens)
        last = torch.tensor([place[row] for row, _ in work], device=x.device)
        states: Tensor = self.network.norm(x[0, last])
        return states

    def logits(self, states: Tensor, rows: Sequence[CohortRow]) -> Tensor:
        versions = [row.version for row in rows]
        with torch.no_grad():
            found = self.network.head(states)
            return self.adapters.raise_asking(found, states, versions).float()

    def _embedded(self, spans: list[_Span]) -> Tensor:
        """The residual stream (1, tokens, hidden size); adapters learn whose tokens are where."""
        tokens = [token for span in spans for token in span.tokens]
        self.adapters.plan.parts, start = [], 0
        for version, same in groupby(spans, key=lambda span: span.version):
            end = start + sum(len(span.tokens) for span in same)
            whole = end - start == len(tokens)
            self.adapters.plan.parts.append((version, None if whole else slice(start, end)))
            start = end
        x: Tensor = self.network.embedding(torch.tensor([tokens], device=self.model.device))
        return x

    def _spans(self, work: Work) -> list[_Span]:
        """What is read in a pass, versions side by side."""
        spans = [self._piece(row, list(tokens)) for row, tokens in work if not row.joined]
        steps = {row: tokens[0] for row, tokens in work if row.joined}
        for row in steps:
            self._with_room(row)
        for cohort in {row.cohort: None for row in steps}:
            cohort.begin()
            tokens = [steps[row] for row in cohort.rows]
            positions = [row.read for row in cohort.rows]
            ends = [(row, row.place) for row in cohort.rows]
            spans.append(_Span(cohort.rows[0].version, tokens, positions, cohort.step, ends))
        return sorted(spans, key=lambda span: span.version)

    def _piece(self, row: CohortRow, tokens: list[int]) -> _Span:
        if row.length + len(tokens) > row.cohort.capacity:
            larger = capacity_for(row.length + len(tokens))
            Cohort(self.network, larger, self.dtype, row.after).add(row)

        def attend(block: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return read_piece(row, block, q, k, v)

        positions = list(range(row.read, row.read + len(tokens)))
        return _Span(row.version, tokens, positions, attend, [(row, len(tokens) - 1)])

    def _with_room(self, row: CohortRow) -> None:
        """Let a row be among those of its kind that have room for one more token."""
        key = (row.version, row.after, capacity_for(row.length + 1))
        cohort = self._cohorts.get(key)
        if cohort is None:
            cohort = self._cohorts[key] = Cohort(self.network, key[2], self.dtype, row.after)
        if row.cohort is not cohort:
            cohort.add(row)

    def _rotation(self, positions: list[int]) -> KeysValues:
        """Cosines and sines (tokens, head size)."""
        longest = max(positions) + 1
        if longest > len(self._turns[0]):
            self._turns = self.network.rotation(0, capacity_for(longest))
        places = torch.tensor(positions, device=self.model.device)
        return self._turns[0][places], self._turns[1][places]
