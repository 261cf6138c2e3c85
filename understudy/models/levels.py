"""What decoding rows have read, in levels: what all prompts begin with, the rest of each prompt,
and what each row drew. A level is computed and kept once for all rows that share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from understudy.models import sampling
from understudy.models.branches import packed
from understudy.models.decoder import Decoder, KeysValues, prompt_visibility, visibility_bias
from understudy.models.prefix import worthwhile_prefix
from understudy.models.prefix_attention import attend_after
from understudy.models.sampling import Prompts


@dataclass(frozen=True, slots=True)
class Level:
    """Keys and values, each read by equally many rows side by side.

    kept: per block, as `room_for` makes them; bias: (owners, 1, 1, positions), -inf over padding;
    None where there is none.
    """

    kept: list[KeysValues]
    bias: Tensor | None = None


def room_for(
    size: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device
) -> KeysValues:
    """Zeros for keys and values (owners, key-value heads, positions, head size)."""
    keys = torch.zeros(size, dtype=dtype, device=device)
    if dtype == torch.bfloat16 and device.type == "cpu":
        # Few queries times transposed keys take three times as long there where keys lie in rows.
        owners, heads, positions, width = size
        keys = torch.zeros(owners, heads, width, positions, dtype=dtype).transpose(2, 3)
    return keys, torch.zeros(size, dtype=dtype, device=device)


def chosen(kept: KeysValues, rows: Tensor) -> KeysValues:
    """The keys and values of some owners, in memory as they were."""
    keys, values = kept
    if keys.transpose(2, 3).is_contiguous():
        return keys.transpose(2, 3)[rows].transpose(2, 3), values[rows]
    return keys[rows], values[rows]


def attend_levels(
    q: Tensor, levels: Sequence[KeysValues], biases: Sequence[Tensor | None]
) -> Tensor:
    """Attention (rows, heads, 1, size) of one query per row to all levels of one block.

    q: (rows, heads, 1, head size); levels and biases: as in `Level`, the largest level first.
    """
    rows, heads, _, size = q.shape
    own = levels[-1][1]
    keys, dtype = own.shape[1], own.dtype
    with torch.autocast(q.device.type, enabled=False):
        q = (q.view(rows, keys, heads // keys, size) * size**-0.5).to(dtype)
        scores = []
        for level, bias in zip(levels, biases, strict=True):
            score = _beside(q, len(level[0])) @ level[0].transpose(2, 3)
            scores.append(_apart(score if bias is None else score.add_(bias), rows))
        # In float32, which takes half as long on a CPU as in bfloat16.
        joined = torch.cat(scores, dim=-1)
        wide = torch.promote_types(dtype, torch.float32)
        weights = joined.softmax(dim=-1, dtype=wide).to(dtype)
        parts = weights.split([level[0].shape[2] for level in levels], dim=-1)
        attended: Tensor | None = None
        for part, (_, values) in zip(parts, levels, strict=True):
            read = _apart(_beside(part, len(values)) @ values, rows)
            attended = read if attended is None else attended + read
    # Of one owner this is no copy but a view, whose heads lie apart.
    assert attended is not None
    return attended.reshape(rows, heads, 1, size)


def _beside(x: Tensor, owners: int) -> Tensor:
    """(rows, heads, per head, n) as (owners, heads, all of an owner, n)."""
    if owners == len(x):
        return x
    return x.unflatten(0, (owners, -1)).transpose(1, 2).flatten(2, 3)


def _apart(x: Tensor, rows: int) -> Tensor:
    """The other way round."""
    if len(x) == rows:
        return x
    return x.unflatten(2, (rows // len(x), -1)).transpose(1, 2).flatten(0, 1)


def prompt_levels(model: Decoder, prompts: Prompts) -> tuple[list[Level], Tensor | int]:
    """The levels of prompts but for their last tokens, and the position of these: (prompts,), or
    one for all.

    Where nothing is shared columns are positions: rotary attention sees only distances, so a
    row's padding shifts nothing.
    """
    ids, mask = prompts.ids[:, :-1], prompts.mask[:, :-1]
    shared = worthwhile_prefix(ids, mask)
    if not shared:
        return [_rest(model, ids, mask, None)], ids.shape[1]
    begins = int(mask[0].long().argmax())
    stem = ids[:1, begins : begins + shared]
    level = _rest(model, stem, torch.ones_like(stem, dtype=torch.bool), None)
    rest = mask & (mask.cumsum(dim=1) > shared)
    width = int(rest.sum(dim=1).max())
    own = _rest(model, ids[:, -width:], rest[:, -width:], level)
    return [Level(level.kept), own], mask.sum(dim=1)


def _rest(model: Decoder, ids: Tensor, mask: Tensor, stem: Level | None) -> Level:
    """Left-padded rows (prompts, positions), after the stem if there is one; some at a time."""
    shape, kind, (count, width) = model.shape, ids.device.type, ids.shape
    casting = torch.is_autocast_enabled(kind)  # then products would cast the cache at every step
    dtype = torch.get_autocast_dtype(kind) if casting else model.head.weight.dtype
    size = (count, shape.num_key_value_heads, width, shape.head_dim)
    kept = [room_for(size, dtype, ids.device) for _ in model.blocks]
    lengths = mask.sum(dim=1)
    order = lengths.argsort(stable=True)
    for start, stop in packed(lengths[order].tolist(), sampling.TOKENS_AT_ONCE):
        part = order[start:stop]
        first = width - int(lengths[part].max())
        some = ids[part, first:], mask[part, first:]
        if stem is None:  # columns are positions, in every part the same
            encoded = model.encode(*some, first)
        else:
            encoded = _encoded_after(model, *some, stem)
        for level, (keys, values) in zip(kept, encoded, strict=True):
            level[0][part, :, first:] = keys.to(dtype)
            level[1][part, :, first:] = values.to(dtype)
    return Level(kept, visibility_bias(mask[:, None, None], dtype))


def _encoded_after(model: Decoder, ids: Tensor, mask: Tensor, stem: Level) -> list[KeysValues]:
    """Per block, keys and values of left-padded rows, each at its own positions after the stem."""
    start = stem.kept[0][0].shape[2]
    rotation = model.rotation_at((mask.cumsum(dim=1) - 1).clamp(min=0) + start)
    visible, x, found = prompt_visibility(mask)[:, None], model.embedding(ids), []
    for number, block in enumerate(model.blocks):
        q, k, v = block.project(x, rotation)
        found.append((k, v))
        if number + 1 < len(model.blocks):  # nothing reads the last block's output
            keys, values = stem.kept[number]
            x = block.finish(x, attend_after(q, (keys[0], values[0]), k, v, visible))
    return found
