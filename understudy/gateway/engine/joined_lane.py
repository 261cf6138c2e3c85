"""A lane of any model of transformers: each version's rows step together in a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from understudy.errors import CheckpointError
from understudy.gateway.engine.adapters import Adapters
from understudy.gateway.engine.lane import KeptRow, SharedPrefix
from understudy.models.transformers_model import TransformersModel, keeps_every_key
from understudy.models.transformers_session import TransformersSession


@dataclass(eq=False, slots=True)
class JoinedRow:
    """A request's row: with a cache of its own, until it has joined the session."""

    version: str
    cache: Any
    read: int = 0
    joined: bool = False


class JoinedLane:
    """Rows of one model of transformers. A version's adapter is applied to a whole pass, so that
    any layer may hold one; each version has its own pass."""

    def __init__(self, model: TransformersModel, adapters: Adapters, dtype: torch.dtype) -> None:
        self.model, self.adapters = model, adapters
        self.shares = keeps_every_key(model.network.config)
        config = model.network.config.get_text_config()
        queries = config.num_attention_heads
        heads = getattr(config, "num_key_value_heads", None) or queries
        width = getattr(config, "head_dim", None) or config.hidden_size // queries
        self.token_size = 2 * model.blocks * heads * width * dtype.itemsize
        self._sessions: dict[str, tuple[TransformersSession, list[JoinedRow]]] = {}
        if not model.plain_head:
            adapters.wrap_head()
        self._check()

    def _check(self) -> None:
        """Refuse a model whose rows cannot join late, before anybody waits for an answer."""
        session, ids = self.model.open(), torch.ones(1, 3, dtype=torch.long)
        ids = ids.to(self.model.device) % self.model.vocabulary
        mask = torch.ones_like(ids, dtype=torch.bool)
        try:
            session.admit(ids, mask)
            session.admit(ids[:, 1:], mask[:, 1:])
            session.step(ids[0, :2])
        except (CheckpointError, RuntimeError, AttributeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{type(self.model.network).__name__}: its rows cannot join late ("
                f"{' '.join(str(error).split())[:200]}); serve it by another engine, and give "
                "that one's URL"
            ) from error

    def open(
        self, version: str, room: int, after: SharedPrefix | None = None, alone: bool = False
    ) -> JoinedRow:
        from transformers import DynamicCache

        assert after is None or after.version == version, "a prefix of another version"
        cache = DynamicCache(config=self.model.network.config)
        if after is None:
            return JoinedRow(version, cache)
        for layer, (keys, values) in zip(cache.layers, after.kept, strict=True):
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
        return JoinedRow(version, cache, after.count)

    def clear(self) -> None:
        self._sessions = {}

    def keep(self, row: JoinedRow) -> SharedPrefix:
        kept = [(layer.keys, layer.values) for layer in row.cache.layers]
        return SharedPrefix(row.version, row.read, kept, row.read * self.token_size)

    def keep_row(self, row: JoinedRow) -> KeptRow:
        session, rows = self._sessions[row.version]
        place = rows.index(row)
        kept = [
            tuple(each[place : place + 1, :, -row.read :].clone() for each in pair)
            for pair in ((layer.keys, layer.values) for layer in session.cache.layers)
        ]
        return KeptRow(row.version, None, row.read, kept, row.read * self.token_size)

    def resume(self, kept: KeptRow, count: int, room: int) -> JoinedRow:
        cut = [tuple(each[:, :, :count] for each in pair) for pair in kept.kept]
        return self.open(kept.version, room, SharedPrefix(kept.version, count, cut, 0))

    def join(self, row: JoinedRow) -> None:
        session, rows = self._sessions.setdefault(row.version, (self.model.open(), []))
        mask = torch.ones(1, row.read, dtype=torch.bool, device=self.model.device)
        session.adopt(row.cache, mask)
        rows.append(row)
        row.cache, row.joined = None, True

    def close(self, row: JoinedRow) -> None:
        row.cache = None
        if not row.joined:
            return
        session, rows = self._sessions[row.version]
        session.drop(torch.tensor([rows.index(row)], device=self.model.device))
        rows.remove(row)
        if not rows:
            del self._sessions[row.version]

    @torch.no_grad()
    def read(self, work: Sequence[tuple[JoinedRow, Sequence[int]]]) -> Tensor:
        found: dict[JoinedRow, Tensor] = {}
        steps = {row: tokens[0] for row, tokens in work if row.joined}
        for version in dict.fromkeys(row.version for row, _ in work):
            self.adapters.plan.parts = [(version, None)]
            if any(row.version == version for row in steps):
                session, rows = self._sessions[version]
                tokens = torch.tensor([steps[row] for row in rows], device=self.model.device)
                found |= zip(rows, session.step(tokens), strict=True)
            for row, piece in work:
                if row.version == version and not row.joined:
                    found[row] = self._piece(row, piece)
        for row, piece in work:
            row.read += len(piece)
        return torch.stack([found[row] for row, _ in work])

    def _piece(self, row: JoinedRow, tokens: Sequence[int]) -> Tensor:
        ids = torch.tensor([list(tokens)], device=self.model.device)
        mask = ids.new_ones(1, row.read + len(tokens)).bool()
        return self.model.run(ids, mask, past_key_values=row.cache, use_cache=True)[0, -1]

    @torch.no_grad()
    def logits(self, states: Tensor, rows: Sequence[JoinedRow]) -> Tensor:
        if not self.model.plain_head:
            return states.float()
        found = self.model.logits(states)
        return self.adapters.raise_asking(found, states, [row.version for row in rows]).float()
