"""The built-in decoder as a local model: drawing, scoring, sessions and parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models import groups
from understudy.models.branches import TreeBatch, batch_of, families_of, packed
from understudy.models.checkpoint import save_decoder
from understudy.models.decoder import Decoder, attention_mask, prompt_visibility
from understudy.models.local_model import Part
from understudy.models.names import PROJECTIONS, transformers_name
from understudy.models.prefix import Prefix, worthwhile_prefix
from understudy.models.sampling import (
    TOKENS_AT_ONCE,
    Completions,
    Drawing,
    Prompts,
    Stops,
    Written,
)


class BuiltInModel:
    """A decoder that reads a prompt once for all completions of its group, in drawing and in
    scoring."""

    reads_prompts_once = True

    def __init__(self, network: Decoder) -> None:
        self.network = network

    @property
    def embedding(self) -> nn.Embedding:
        return self.network.embedding

    @property
    def head(self) -> nn.Linear:
        return self.network.head

    @property
    def vocabulary(self) -> int:
        return self.network.shape.vocab_size

    @property
    def longest(self) -> int:
        return self.network.shape.max_position_embeddings

    @property
    def blocks(self) -> int:
        return len(self.network.blocks)

    @property
    def device(self) -> torch.device:
        return self.network.embedding.weight.device

    def sample(
        self,
        prompts: Prompts,
        group: int,
        stops: Stops,
        drawing: Drawing,
        uniforms: Tensor | None = None,
    ) -> Completions:
        return groups.sample(self.network, prompts, group, stops, drawing, uniforms)

    def parts(
        self,
        prompts: Prompts,
        completions: Completions | Written,
        rows: Tensor,
        tokens_at_once: int = TOKENS_AT_ONCE,
    ) -> Iterator[Part]:
        owners = rows // (completions.tokens.shape[0] // prompts.ids.shape[0])
        used = owners.unique().to(prompts.ids.device)
        families = families_of(
            _unpadded(prompts.ids, prompts.mask),
            _unpadded(completions.tokens[rows], completions.mask[rows]),
            owners.tolist(),
            worthwhile_prefix(prompts.ids[used], prompts.mask[used]),
        )
        for family in families:
            trees = family.trees
            for start, stop in packed([len(tree.tokens) for tree in trees], tokens_at_once):
                batch = batch_of(trees[start:stop], prompts.ids.device)
                states = partial(self._states, batch, family.prefix)
                yield Part(batch.taken, batch.rows, batch.columns, states)

    def _states(self, batch: TreeBatch, prefix: Prefix | None) -> Tensor:
        before = None if prefix is None else prefix.read(self.network)
        states = self.network.branch(batch.tokens, batch.positions, batch.visible, before)
        return states.flatten(0, 1).index_select(0, batch.reads)

    def open(self, first: int = 0, last: int | None = None) -> BuiltInSession:
        return BuiltInSession(self.network, first, self.blocks if last is None else last)

    @property
    def projections(self) -> Sequence[str]:
        return PROJECTIONS

    def separate(self) -> None:
        for block in self.network.blocks:
            block.separate()

    def set_head(self, head: nn.Linear) -> None:
        self.network.head = head

    def transformers_name(self, name: str) -> str:
        return transformers_name(name)

    def recompute(self) -> None:
        self.network.checkpointing = True

    def resize(self, count: int) -> None:
        self.network.resize(count)

    def save(self, folder: Path, source: Path, adapted: bool) -> None:
        save_decoder(self.network, folder, source, adapted)


class BuiltInSession:
    """Rows in some blocks of the built-in decoder, the first token of each at position 0.

    past: per block, keys and values (2, rows, key-value heads, capacity, head size); those of a
    row are filled below its length.
    """

    def __init__(self, network: Decoder, first: int, last: int) -> None:
        self.network = network
        self.ends = last == len(network.blocks)
        self.blocks = list(network.blocks)[first:last]
        shape = network.shape
        size = (2, 0, shape.num_key_value_heads, 0, shape.head_dim)
        self.past = [network.embedding.weight.new_zeros(size) for _ in self.blocks]
        self.lengths = torch.zeros(0, dtype=torch.long, device=network.embedding.weight.device)
        self.longest = 0  # of the lengths, known without asking the device

    @torch.no_grad()
    def admit(self, given: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(dim=1)
        rotation = self.network.rotation_at((mask.cumsum(dim=1) - 1).clamp(min=0))
        visible = prompt_visibility(mask)[:, None]
        attended = attention_mask(visible, self.network.embedding.weight.dtype)
        columns = torch.arange(mask.shape[1], device=mask.device)
        # Prompts come with their padding on the left and are kept with it on the right.
        places = (columns + (mask.shape[1] - lengths)[:, None]) % mask.shape[1]
        x = self._entered(given)
        for number, block in enumerate(self.blocks):
            q, k, v = block.project(x, rotation)
            x = block.finish(x, block.attend(q, k, v, attended))
            read = torch.stack((k, v)).take_along_dim(places[None, :, None, :, None], dim=3)
            self.past[number] = _joined(self.past[number], read.to(self._kept(v.dtype)))
        self.lengths = torch.cat((self.lengths, lengths))
        self.longest = max(self.longest, int(lengths.max()))
        return self.network.norm(x[:, -1]) if self.ends else x

    @torch.no_grad()
    def step(self, given: Tensor) -> Tensor:
        assert len(self.lengths), "no row has begun"
        self.longest += 1
        every = torch.arange(len(given), device=given.device)
        seen = torch.arange(self.longest, device=given.device) <= self.lengths[:, None]
        dtype = self.network.embedding.weight.dtype
        attended = attention_mask(seen[:, None, None], dtype)
        rotation = self.network.rotation_at(self.lengths[:, None])
        x = self._entered(given[:, None])
        for number, block in enumerate(self.blocks):
            past = self.past[number]
            if past.shape[3] < self.longest:
                past = self.past[number] = F.pad(past, (0, 0, 0, self.longest))
            q, k, v = block.project(x, rotation)
            past[0, every, :, self.lengths] = k[:, :, 0].to(past.dtype)
            past[1, every, :, self.lengths] = v[:, :, 0].to(past.dtype)
            keys, values = past[:, :, :, : self.longest]
            x = block.finish(x, block.attend(q, keys, values, attended))
        self.lengths = self.lengths + 1
        return self.network.norm(x)[:, 0] if self.ends else x[:, 0]

    def drop(self, rows: Tensor) -> None:
        stays = torch.ones(len(self.lengths), dtype=torch.bool, device=self.lengths.device)
        stays[rows] = False
        self.lengths = self.lengths[stays]
        self.longest = int(self.lengths.max()) if len(self.lengths) else 0
        self.past = [past[:, stays, :, : 2 * self.longest] for past in self.past]

    @torch.no_grad()
    def logits(self, states: Tensor) -> Tensor:
        return self.network.head(states)

    def _entered(self, given: Tensor) -> Tensor:
        return given if given.is_floating_point() else self.network.embedding(given)

    def _kept(self, dtype: torch.dtype) -> torch.dtype:
        """The type of what is kept: that of the rows there are, or else of the first ones."""
        return self.past[0].dtype if len(self.lengths) else dtype


def _joined(past: Tensor, read: Tensor) -> Tensor:
    """Rows beside rows: (2, rows, heads, positions, head size), filled up to the longer ones."""
    count = max(past.shape[3], read.shape[3])
    # Zeros, since what is not attended to must still be a number.
    padded = (F.pad(part, (0, 0, 0, count - part.shape[3])) for part in (past.to(read), read))
    return torch.cat(tuple(padded), dim=1)


def _unpadded(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """Rows without their padding."""
    parts: tuple[Tensor, ...] = ids[mask].split(mask.sum(dim=1).tolist())
    return [part.tolist() for part in parts]
