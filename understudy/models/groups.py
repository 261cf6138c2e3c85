"""Drawing groups with the built-in decoder: a prompt is encoded once for its whole group."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from understudy.models import sampling
from understudy.models.decoder import Decoder
from understudy.models.fused import fused
from understudy.models.levels import Level, attend_levels, chosen, prompt_levels, room_for
from understudy.models.sampling import Completions, Drawing, Prompts, Stops, draw

_FIRST_CAPACITY = 64  # of the cache, in positions; it doubles
# Positions by which what is read of the cache grows in bfloat16 on a CPU: products of each new
# shape take half a millisecond to prepare there.
_GROWTH = 16


def sample(
    model: Decoder,
    prompts: Prompts,
    group: int,
    stops: Stops,
    drawing: Drawing,
    uniforms: Tensor | None = None,
) -> Completions:
    """Draw `group` completions for every prompt, decoding all rows side by side.

    uniforms: (prompts * group, longest completion), float64 in (0, 1]: what decides at each
    position of each sample, whatever else is in the batch. Temperature 0 needs none.
    """
    device = prompts.ids.device
    joined: AbstractContextManager[None] = nullcontext()
    if torch.is_autocast_enabled(device.type):
        dtype = torch.get_autocast_dtype(device.type)
        joined = fused(model, dtype, drawing.max_completion_length)
    # In this mode torch keeps no account of who writes to what, which takes a while at few rows.
    with torch.inference_mode(), joined:
        decoding = GroupDecoding(model, prompts, group, drawing.max_completion_length)
        tokens = prompts.ids[:, -1].repeat_interleave(group)
        drawn = draw(decoding, tokens, stops, drawing, uniforms)
    return drawn.copied()


class GroupDecoding:
    """The built-in decoder's rows that began together; those of a prompt share what it computed,
    and all rows share what all prompts begin with.

    own: per block, keys and values (rows, heads, capacity, head size), filled below `position`;
    unwritten: where nothing of them is, -inf, (1, 1, 1, longest completion); None where only what
    is written is read;
    cos, sin: of every position drawn, for each row, (rows, 1, positions, head size), or for all.
    """

    def __init__(self, model: Decoder, prompts: Prompts, group: int, length: int) -> None:
        self.model, self.vocabulary, self.position = model, model.shape.vocab_size, 0
        self.levels, starts = prompt_levels(model, prompts)
        values = self.levels[-1].kept[0][1]
        self.prompts, heads, _, size = values.shape
        self.length, capacity = length, min(length, _FIRST_CAPACITY)
        shape = (self.prompts * group, heads, capacity, size)
        self.own = [room_for(shape, values.dtype, values.device) for _ in model.blocks]
        self.unwritten: Tensor | None = None
        if values.dtype == torch.bfloat16 and values.device.type == "cpu":
            self.unwritten = values.new_full((1, 1, 1, length), float("-inf"))
        if isinstance(starts, int):
            self.cos, self.sin = model.rotation(starts, length)
        else:
            places = starts[:, None] + torch.arange(length, device=starts.device)
            self.cos, self.sin = model.rotation_at(places.repeat_interleave(group, dim=0))

    def read(self, tokens: Tensor) -> Tensor:
        at, model = self.position, self.model
        self.position += 1
        self._grow(at)
        turn = self.cos[..., at : at + 1, :], self.sin[..., at : at + 1, :]
        end, bias = self._read_to(at + 1)
        biases = [*(level.bias for level in self.levels), bias]
        x = model.embedding(tokens)[:, None]
        for number, (block, own) in enumerate(zip(model.blocks, self.own, strict=True)):
            q, k, v = block.project(x, turn)
            own[0][:, :, at], own[1][:, :, at] = k[:, :, 0], v[:, :, 0]
            read = [level.kept[number] for level in self.levels]
            read.append((own[0][:, :, :end], own[1][:, :, :end]))
            x = block.finish(x, attend_levels(q, read, biases))
        return model.norm(x)[:, 0]

    def _read_to(self, written: int) -> tuple[int, Tensor | None]:
        """Up to where what is written in the cache is read, and the bias of those positions."""
        if self.unwritten is None:
            return written, None
        self.unwritten[..., written - 1] = 0.0
        end = min(-(-written // _GROWTH) * _GROWTH, self.own[0][1].shape[2])
        return end, None if end == written else self.unwritten[..., :end]

    def _grow(self, at: int) -> None:
        rows, heads, capacity, size = self.own[0][1].shape
        if at < capacity:
            return
        shape = (rows, heads, min(2 * at, self.length), size)
        for block, own in enumerate(self.own):  # one after the other: one copy at a time
            self.own[block] = room_for(shape, own[1].dtype, own[1].device)
            for new, old in zip(self.own[block], own, strict=True):
                new[:, :, :at] = old

    def logits(self, states: Tensor) -> Tensor:
        return self.model.head(states)

    def keep(self, going: Tensor) -> Tensor | None:
        """Prompts keep as many rows as the prompt with most rows going."""
        alive = going.view(self.prompts, -1)
        counts = alive.sum(dim=1)
        width, live = int(counts.max()), counts.nonzero().squeeze(1)
        if len(live) * width >= sampling.COMPACT_BELOW * len(going):
            return None
        first = alive[live].int().argsort(dim=1, descending=True, stable=True)[:, :width]
        kept = (live[:, None] * alive.shape[1] + first).flatten()
        for block, own in enumerate(self.own):
            self.own[block] = chosen(own, kept)
        if self.cos.dim() == 4:  # of each row
            self.cos, self.sin = self.cos[kept], self.sin[kept]
        if len(live) < self.prompts:
            self._leave(live)
        return kept

    def _leave(self, live: Tensor) -> None:
        """Keep some prompts only."""
        self.prompts, last = len(live), self.levels[-1]
        kept = [chosen(each, live) for each in last.kept]
        self.levels[-1] = Level(kept, None if last.bias is None else last.bias[live])
