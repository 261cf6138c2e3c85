"""One decoder for Llama-shaped checkpoints (Llama, Qwen2), read and written in their own format.

It exists beside transformers' classes for two reasons, both measured in `bench/`: a prompt is
encoded once for all the completions of its group, in sampling and in training alike, and
nothing but torch is imported. Its logits equal those of transformers (tests/models).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from understudy.models.names import FUSED
from understudy.models.prefix_attention import attend_after

# Up to so many keys the CPU attends in written-out products: the fused kernel's backward pass
# takes longer there. Beyond it, and on a GPU, no weights of all queries over all keys are held.
WRITTEN_OUT = 256


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a decoder, under the names of a transformers config.json."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    tie_word_embeddings: bool
    max_position_embeddings: int

    @property
    def attention_bias(self) -> bool:
        return self.model_type == "qwen2"

    def rows(self, fused: str) -> list[int]:
        """How many rows of a fused layer belong to each of its parts."""
        keys = self.num_key_value_heads * self.head_dim
        if fused == "qkv":
            return [self.num_attention_heads * self.head_dim, keys, keys]
        return [self.intermediate_size] * 2


KeysValues = tuple[Tensor, Tensor]  # each (rows, key-value heads, positions, head size)


class SideBySide(nn.Module):
    """Linear layers that read the same, each on its own, in place of one that joins them."""

    def __init__(self, fused: nn.Linear, rows: dict[str, int]) -> None:
        super().__init__()
        sizes = list(rows.values())
        biases = [None] * len(sizes) if fused.bias is None else fused.bias.split(sizes)
        for name, weight, bias in zip(rows, fused.weight.split(sizes), biases, strict=True):
            with torch.device("meta"):
                part = nn.Linear(fused.in_features, len(weight), bias=bias is not None)
            part.weight = nn.Parameter(weight.detach())  # no copy
            if bias is not None:
                part.bias = nn.Parameter(bias.detach())
            self.add_module(name, part)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [part(x) for part in self.children()]


class Block(nn.Module):
    """Attention and a gated feed-forward, each on a normalised residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        heads = shape.num_attention_heads + 2 * shape.num_key_value_heads
        hidden, inner = shape.hidden_size, shape.intermediate_size
        self.attention_norm = nn.RMSNorm(hidden, eps=shape.rms_norm_eps)
        self.qkv: nn.Module = nn.Linear(hidden, heads * shape.head_dim, bias=shape.attention_bias)
        self.o_proj = nn.Linear(shape.num_attention_heads * shape.head_dim, hidden, bias=False)
        self.feed_norm = nn.RMSNorm(hidden, eps=shape.rms_norm_eps)
        self.gate_up: nn.Module = nn.Linear(hidden, 2 * inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def separate(self) -> None:
        """Keep the projections that are computed as one apart, as adapters want them."""
        for name, parts in FUSED.items():
            fused = getattr(self, name)
            if isinstance(fused, nn.Linear):
                setattr(
                    self,
                    name,
                    SideBySide(fused, dict(zip(parts, self.shape.rows(name), strict=True))),
                )

    def forward(
        self, x: Tensor, rotation: KeysValues, mask: Tensor, before: KeysValues | None = None
    ) -> Tensor:
        """The residual stream (rows, positions, hidden) after this block; mask as in `attend`, or
        as in `attend_after` where there are keys and values before all rows."""
        q, k, v = self.project(x, rotation)
        if before is None:
            return self.finish(x, self.attend(q, k, v, mask))
        return self.finish(x, attend_after(q, before, k, v, mask))

    def extend(
        self, x: Tensor, rotation: KeysValues, visible: Tensor, before: KeysValues, ends: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The residual stream (1, positions, hidden) after this block, unless it ends there, and
        the keys and values (heads, positions, head size) up to here, those before included."""
        q, k, v = self.project(x, rotation)
        if not ends:
            x = self.finish(x, attend_after(q, before, k, v, visible))
        return (
            x,
            torch.cat((before[0].to(k), k[0]), dim=1),
            torch.cat((before[1].to(v), v[0]), dim=1),
        )

    def project(self, x: Tensor, rotation: KeysValues) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of shape (rows, heads, positions, head size), rotated."""
        rows, positions, _ = x.shape
        queries, keys = self.shape.num_attention_heads, self.shape.num_key_value_heads
        qkv = self.qkv(self.attention_norm(x))
        if isinstance(self.qkv, SideBySide):
            size = (rows, positions, -1, self.shape.head_dim)
            q, k, v = (part.view(size).transpose(1, 2) for part in qkv)
            return rotate(q, rotation), rotate(k, rotation), v
        qkv = qkv.view(rows, positions, queries + 2 * keys, self.shape.head_dim).transpose(1, 2)
        turned = rotate(qkv[:, : queries + keys], rotation)
        return turned[:, :queries], turned[:, queries:], qkv[:, queries + keys :]

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to, then the feed-forward, to the residual stream."""
        x = x + self.o_proj(attended.transpose(1, 2).flatten(2))
        fed = self.gate_up(self.feed_norm(x))
        gate, up = fed if isinstance(self.gate_up, SideBySide) else fed.chunk(2, dim=-1)
        return x + self.down_proj(F.silu(gate) * up)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Softmax attention under an `attention_mask`, (rows, 1, queries, keys)."""
        rows, heads, positions, size = q.shape
        shared = heads // k.shape[1]
        if mask.dtype == torch.bool:
            k, v = k.repeat_interleave(shared, dim=1), v.repeat_interleave(shared, dim=1)
            return F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask)
        stacked = q.reshape(rows, k.shape[1], shared * positions, size)
        scores = stacked @ (k * size**-0.5).transpose(2, 3)
        scores = scores.view(rows, k.shape[1], shared, positions, k.shape[2]) + mask[:, :, None]
        weights = scores.softmax(dim=-1).flatten(2, 3)
        return (weights.to(v.dtype) @ v).view(rows, heads, positions, size)


def attention_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """What `Block.attend` is to do: a bias to attend in written-out products, or `visible` itself
    for the fused kernel."""
    if visible.is_cuda or visible.shape[-1] > WRITTEN_OUT:
        return visible
    return visibility_bias(visible, dtype)


def prompt_visibility(mask: Tensor) -> Tensor:
    """Which positions of padded prompts see which: (prompts, queries, keys)."""
    count = mask.shape[1]
    causal = torch.ones(count, count, dtype=torch.bool, device=mask.device).tril()
    # A padded position attends to itself: an empty row would be NaN.
    return causal & mask[:, None, :] | torch.eye(count, dtype=torch.bool, device=mask.device)


def visibility_bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where visible, -inf elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(
        ~visible, float("-inf")
    )


def rotate(x: Tensor, rotation: KeysValues) -> Tensor:
    """Rotary position embedding in the half-split convention of Llama checkpoints."""
    cos, sin = rotation
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


class Decoder(nn.Module):
    """Embedding, blocks, final norm and language-model head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.checkpointing = False  # in training, compute each block again rather than keep it
        self.embedding = nn.Embedding(shape.vocab_size, shape.hidden_size)
        blocks = nn.ModuleList(Block(shape) for _ in range(shape.num_hidden_layers))
        self.blocks = cast(list[Block], blocks)
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        if shape.tie_word_embeddings:
            self.head.weight = self.embedding.weight

    def rotation(self, start: int, count: int) -> KeysValues:
        """Cosines and sines of positions start .. start + count, each (count, head size).

        Sines that the second half of a head is taken by come with their sign, which is minus.
        """
        device = self.embedding.weight.device
        exponent = torch.arange(0, self.shape.head_dim, 2, device=device) / self.shape.head_dim
        positions = torch.arange(start, start + count, device=device, dtype=torch.float32)
        angles = torch.outer(positions, self.shape.rope_theta**-exponent)
        cos, sin, dtype = angles.cos(), angles.sin(), self.embedding.weight.dtype
        return torch.cat((cos, cos), dim=1).to(dtype), torch.cat((-sin, sin), dim=1).to(dtype)

    def rotation_at(self, positions: Tensor) -> KeysValues:
        """Cosines and sines of positions (rows, count), each (rows, 1, count, head size)."""
        last = int(positions.max()) if positions.numel() else 0
        cos, sin = self.rotation(0, last + 1)
        return cos[positions][:, None], sin[positions][:, None]

    def encode(self, prompts: Tensor, mask: Tensor, start: int = 0) -> list[KeysValues]:
        """Keys and values of left-padded prompts, per block.

        prompts, mask: (prompts, positions). Columns are positions, from `start`: rotary attention
        sees only distances, so a row's padding shifts nothing.
        """
        count = prompts.shape[1]
        attended = attention_mask(prompt_visibility(mask)[:, None], self.embedding.weight.dtype)
        x, rotation, cache = self.embedding(prompts), self.rotation(start, count), []
        for number, block in enumerate(self.blocks):
            q, k, v = block.project(x, rotation)
            cache.append((k, v))
            if number + 1 < len(self.blocks):  # nothing reads the last block's output
                x = block.finish(x, block.attend(q, k, v, attended))
        return cache

    def continue_(self, tokens: Tensor, prefix: list[KeysValues], mask: Tensor) -> Tensor:
        """Final hidden states (rows, count, hidden) of tokens (rows, count) after a prefix.

        prefix: per block, keys and values of these rows. mask: (rows, prefix positions), true
        where the prefix is no padding. Tokens see the prefix and, causally, each other.
        """
        rows, count = tokens.shape
        causal = torch.ones(count, count, dtype=torch.bool, device=tokens.device).tril()
        own = causal.expand(rows, 1, count, count)
        visible = torch.cat((mask[:, None, None, :].expand(-1, 1, count, -1), own), dim=-1)
        attended = attention_mask(visible, self.embedding.weight.dtype)
        x, rotation = self.embedding(tokens), self.rotation(mask.shape[1], count)
        for block, (keys, values) in zip(self.blocks, prefix, strict=True):
            q, k, v = block.project(x, rotation)
            k, v = torch.cat((keys, k), dim=2), torch.cat((values, v), dim=2)
            x = block.finish(x, block.attend(q, k, v, attended))
        return self.norm(x)

    def branch(
        self,
        tokens: Tensor,
        positions: Tensor,
        visible: Tensor,
        before: Sequence[KeysValues] | None = None,
    ) -> Tensor:
        """Final hidden states (rows, count, hidden) of tokens that branch.

        tokens, positions: (rows, count); visible: (rows, 1, queries, keys); before: what `extend`
        gave of tokens that all rows follow.
        """
        rotation, mask = self.rotation_at(positions), visible
        if before is None:
            mask = attention_mask(visible, self.embedding.weight.dtype)
        x = self.embedding(tokens)
        for number, block in enumerate(self.blocks):
            x = self._run(block, x, rotation, mask, None if before is None else before[number])
        return self.norm(x)

    def extend(self, tokens: Tensor, before: Sequence[KeysValues]) -> list[KeysValues]:
        """Per block, keys and values (heads, positions, head size) of one row of tokens (count,)
        and of those before them; `nothing` at the start."""
        start, count = before[0][0].shape[1], len(tokens)
        visible = torch.ones(1, 1, count, count, dtype=torch.bool, device=tokens.device).tril()
        x, rotation, found = self.embedding(tokens)[None], self.rotation(start, count), []
        for number, block in enumerate(self.blocks):
            ends = number + 1 == len(self.blocks)  # nothing reads the last block's output
            x, k, v = self._run(block.extend, x, rotation, visible, before[number], ends)
            found.append((k, v))
        return found

    def nothing(self) -> list[KeysValues]:
        """Per block, keys and values of no token."""
        shape = self.shape.num_key_value_heads, 0, self.shape.head_dim
        empty = self.embedding.weight.new_zeros(shape)
        return [(empty, empty)] * len(self.blocks)

    def _run(self, part: Callable[..., Any], *given: Any) -> Any:
        """A part of a block, in training again for the backward pass if so set."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(part, *given, use_reentrant=False)
        return part(*given)

    def resize(self, count: int) -> None:
        """Give the embedding and the head rows of zeros up to `count`."""
        tied = self.head.weight is self.embedding.weight
        self.embedding.weight = _longer(self.embedding.weight, count)
        self.embedding.num_embeddings = count
        self.head.weight = self.embedding.weight if tied else _longer(self.head.weight, count)
        self.head.out_features = count
        self.shape = replace(self.shape, vocab_size=count)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (rows, positions, vocabulary) of unpadded tokens, as transformers gives them."""
        rows = tokens.shape[0]
        shape = (rows, self.shape.num_key_value_heads, 0, self.shape.head_dim)
        empty = self.embedding.weight.new_zeros(shape)
        mask = torch.ones(rows, 0, dtype=torch.bool, device=tokens.device)
        return self.head(self.continue_(tokens, [(empty, empty)] * len(self.blocks), mask))


def _longer(weight: Tensor, count: int) -> nn.Parameter:
    rows = weight.new_zeros(count - len(weight), weight.shape[1])
    return nn.Parameter(torch.cat((weight, rows)))
