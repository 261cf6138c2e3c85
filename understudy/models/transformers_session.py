"""Sessions of any model of transformers: rows that join late, and some of the blocks alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import CheckpointError
from understudy.models.transformers_network import TransformersNetwork


class TransformersSession:
    """Rows in transformers' own cache, each padded on its left to the longest row's length."""

    def __init__(self, owner: TransformersNetwork, first: int, last: int) -> None:
        self.owner, self.first, self.last = owner, first, last
        self.cache: Any = None
        self.mask = torch.zeros(0, 0, dtype=torch.bool, device=owner.device)

    @property
    def lengths(self) -> Tensor:
        return self.mask.sum(dim=1)

    @torch.no_grad()
    def admit(self, given: Tensor, mask: Tensor) -> Tensor:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.owner.network.config)
        found = self._run(given, mask, cache)
        self.adopt(cache, mask)
        return found[:, -1] if self.last == self.owner.blocks else found

    def adopt(self, cache: Any, mask: Tensor) -> None:
        """Let rows in that have read elsewhere, into a cache of their own; mask: (new rows,
        positions)."""
        if len(self.mask):
            join(self.cache, cache)
            width = max(self.mask.shape[1], mask.shape[1])
            padded = [F.pad(part, (width - part.shape[1], 0)) for part in (self.mask, mask)]
            self.mask = torch.cat(padded)
        else:
            self.cache, self.mask = cache, mask

    @torch.no_grad()
    def step(self, given: Tensor) -> Tensor:
        assert len(self.mask), "no row has begun"
        self.mask = F.pad(self.mask, (0, 1), value=True)
        return self._run(given[:, None], self.mask, self.cache)[:, -1]

    def drop(self, rows: Tensor) -> None:
        stays = torch.ones(len(self.mask), dtype=torch.bool, device=self.mask.device)
        stays[rows] = False
        self.mask = self.mask[stays]
        if not len(self.mask):
            self.cache = None
            return
        self.cache.batch_select_indices(stays.nonzero().squeeze(1))
        width = int(self.mask.sum(dim=1).max())
        crop(self.cache, self.mask.shape[1] - width)
        self.mask = self.mask[:, -width:]

    @torch.no_grad()
    def logits(self, states: Tensor) -> Tensor:
        return self.owner.logits(states)

    def _run(self, given: Tensor, mask: Tensor, cache: Any) -> Tensor:
        run = {"past_key_values": cache, "use_cache": True}
        if not given.is_floating_point() and self.last == self.owner.blocks:
            return self.owner.run(given, mask, **run)
        with only_blocks(self.owner, self.first, self.last, given, cache) as seen:
            final = self.owner.run(given, mask, **run)
        return seen.get(self.last, final)


def check_parts(owner: TransformersNetwork) -> None:
    """Refuse a model whose blocks need more than the hidden states before them."""
    ids = torch.arange(1, 6, device=owner.device)[None] % owner.vocabulary
    mask = torch.ones_like(ids, dtype=torch.bool)
    try:
        whole = TransformersSession(owner, 0, owner.blocks).admit(ids, mask)
        half = TransformersSession(owner, 0, owner.blocks // 2).admit(ids, mask)
        rest = TransformersSession(owner, owner.blocks // 2, owner.blocks).admit(half, mask)
        fits = torch.allclose(rest.float(), whole.float(), atol=1e-3, rtol=1e-3)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        fits = False
    if not fits:
        raise CheckpointError(
            f"{type(owner.network).__name__} cannot be cut in parts: its blocks need more than the "
            "hidden states before them; use the whole model"
        )


@contextmanager
def only_blocks(
    owner: TransformersNetwork, first: int, last: int, given: Tensor, cache: Any
) -> Iterator[dict[int, Tensor]]:
    """Let a model run some of its blocks alone; what reaches block `last` is noted under its place.

    Hidden states that are given take the place of what the blocks before `first` give.
    """
    seen: dict[int, Tensor] = {}

    def passing(place: int) -> Any:
        def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
            if place < len(cache.layers):  # masks are made by the length of any block's cache
                cache.update(*(x.new_zeros(len(x), 1, x.shape[1], 1) for _ in range(2)), place)
            seen[place] = x
            return given if place + 1 == first else x

        return forward

    blocks = blocks_of(owner)
    left_out = [place for place in range(len(blocks)) if not first <= place < last]
    embedded = first == 0 and given.is_floating_point()
    hook = blocks[0].register_forward_pre_hook(lambda _, read: (given, *read[1:]))
    if not embedded:
        hook.remove()
    try:
        for place in left_out:
            blocks[place].forward = passing(place)
        yield seen
    finally:
        hook.remove()
        for place in left_out:
            del blocks[place].forward


def blocks_of(owner: TransformersNetwork) -> nn.ModuleList:
    """The list of a model's blocks."""
    for module in owner.network.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == owner.blocks:
            return module
    raise CheckpointError(
        f"{type(owner.network).__name__} keeps its blocks in no list, so it cannot be cut in parts"
    )


def join(cache: Any, other: Any) -> None:
    """Put another cache's rows after those of a cache, all padded on their left to one length."""
    for ours, theirs in zip(cache.layers, other.layers, strict=True):
        if not theirs.is_initialized:
            continue
        _check(ours)
        count = max(ours.keys.shape[2], theirs.keys.shape[2])
        for kind in ("keys", "values"):
            parts = [getattr(layer, kind) for layer in (ours, theirs)]
            padded = [F.pad(part, (0, 0, count - part.shape[2], 0)) for part in parts]
            setattr(ours, kind, torch.cat(padded))
        if ours.is_sliding:
            ours.cumulative_length = max(ours.cumulative_length, theirs.cumulative_length)


def crop(cache: Any, count: int) -> None:
    """Take `count` positions away on the left, where no row has a token."""
    for layer in cache.layers:
        if not layer.is_initialized or not count:
            continue
        _check(layer)
        length = layer.get_seq_length() - count
        if layer.is_sliding:
            layer.cumulative_length = length
            length = min(length, layer.sliding_window - 1)
        layer.keys, layer.values = layer.keys[:, :, -length:], layer.values[:, :, -length:]


def _check(layer: Any) -> None:
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
        raise CheckpointError(
            f"this model keeps what it has read as {type(layer).__name__}, whose rows cannot join "
            "late; let all of them begin together"
        )
