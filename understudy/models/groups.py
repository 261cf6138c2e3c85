"""Drawing groups with the built-in decoder: a prompt is encoded once for its whole group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from understudy.models import sampling
from understudy.models.branches import packed
from understudy.models.decoder import Decoder, visibility_bias
from understudy.models.sampling import Completions, Drawing, Prompts, Stops, draw

_FIRST_CAPACITY = 64  # of the cache, in positions; it doubles


@torch.no_grad()
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
    with _casting_once(model, prompts.ids.device):
        decoding = GroupDecoding(model, prompts, group, drawing.max_completion_length)
        tokens = prompts.ids[:, -1].repeat_interleave(group)
        return draw(decoding, tokens, stops, drawing, uniforms)


class GroupDecoding:
    """The built-in decoder's rows that began together; those of a prompt share what it computed.

    prefix: per block, (2, prompts, heads, positions, head size); own: per block, (2, rows, heads,
    capacity, head size), filled below `position`.
    """

    def __init__(self, model: Decoder, prompts: Prompts, group: int, length: int) -> None:
        self.model, self.vocabulary, self.position = model, model.shape.vocab_size, 0
        self.prefix, self.bias = _encoded(model, prompts)
        _, count, heads, width, size = self.prefix[0].shape
        self.length, capacity = length, min(length, _FIRST_CAPACITY)
        shape = (2, count * group, heads, capacity, size)
        self.own = [prefix.new_empty(shape) for prefix in self.prefix]
        self.rotation = model.rotation(width, length)

    def read(self, tokens: Tensor) -> Tensor:
        at, (cos, sin) = self.position, self.rotation
        capacity = self.own[0].shape[3]
        if at == capacity:
            shape = (*self.own[0].shape[:3], min(2 * capacity, self.length), -1)
            for block, own in enumerate(self.own):  # one after the other: one copy at a time
                self.own[block] = own.new_empty((*shape[:4], own.shape[4]))
                self.own[block][:, :, :, :at] = own
        self.position += 1
        turn = cos[at : at + 1], sin[at : at + 1]
        return self.model.step(tokens, self.prefix, self.bias, self.own, at, turn)

    def logits(self, states: Tensor) -> Tensor:
        return self.model.head(states)

    def keep(self, going: Tensor) -> Tensor | None:
        """Prompts keep as many rows as the prompt with most rows going."""
        alive = going.view(len(self.bias), -1)
        counts = alive.sum(dim=1)
        width, live = int(counts.max()), counts.nonzero().squeeze(1)
        if len(live) * width >= sampling.COMPACT_BELOW * len(going):
            return None
        first = alive[live].int().argsort(dim=1, descending=True, stable=True)[:, :width]
        kept = (live[:, None] * alive.shape[1] + first).flatten()
        for block, own in enumerate(self.own):
            self.own[block] = own[:, kept]
            if len(live) < len(counts):
                self.prefix[block] = self.prefix[block][:, live]
        self.bias = self.bias[live]
        return kept


@contextmanager
def _casting_once(model: Decoder, device: torch.device) -> Iterator[None]:
    """Autocast keeps its cast of a weight, for all steps, only if the weight wants a gradient."""
    casting = torch.is_autocast_enabled(device.type)
    frozen = [weight for weight in model.parameters() if casting and not weight.requires_grad]
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


def _encoded(model: Decoder, prompts: Prompts) -> tuple[list[Tensor], Tensor]:
    """Keys and values of the prompts but for their last token, and the bias over padding.

    Per block, (2, prompts, heads, positions, head size); the bias is (prompts, 1, 1, positions).
    """
    ids, mask, shape = prompts.ids[:, :-1], prompts.mask[:, :-1], model.shape
    kind, (count, width) = ids.device.type, ids.shape
    casting = torch.is_autocast_enabled(kind)  # then products would cast the cache at every step
    dtype = torch.get_autocast_dtype(kind) if casting else model.head.weight.dtype
    sizes = (2, count, shape.num_key_value_heads, width, shape.head_dim)
    prefix = [torch.zeros(sizes, dtype=dtype, device=ids.device) for _ in model.blocks]
    lengths = mask.sum(dim=1)
    order = lengths.argsort(stable=True)
    for start, stop in packed(lengths[order].tolist(), sampling.TOKENS_AT_ONCE):
        part = order[start:stop]
        first = width - int(lengths[part].max())
        encoded = model.encode(ids[part, first:], mask[part, first:], first)
        for block, (keys, values) in zip(prefix, encoded, strict=True):
            block[0, part, :, first:] = keys.to(dtype)
            block[1, part, :, first:] = values.to(dtype)
    return prefix, visibility_bias(mask[:, None, None], dtype)
