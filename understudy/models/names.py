"""The built-in decoder's parameters and the tensors of transformers that they are made of."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.models.decoder import Shape


def parameters(shape: Shape) -> Iterator[tuple[str, list[str]]]:
    """Our parameter names, each with the names of the tensors it is made of."""
    yield "embedding.weight", ["model.embed_tokens.weight"]
    for i in range(shape.num_hidden_layers):
        theirs, ours = f"model.layers.{i}", f"blocks.{i}"
        yield f"{ours}.attention_norm.weight", [f"{theirs}.input_layernorm.weight"]
        kinds = ("weight", "bias") if shape.attention_bias else ("weight",)
        for name, parts in projections(i).items():
            for kind in kinds if name.endswith("qkv") else ("weight",):
                yield f"{name}.{kind}", [f"{part}.{kind}" for part in parts]
        yield f"{ours}.feed_norm.weight", [f"{theirs}.post_attention_layernorm.weight"]
    yield "norm.weight", ["model.norm.weight"]
    if not shape.tie_word_embeddings:
        yield "head.weight", ["lm_head.weight"]


def projections(block: int) -> dict[str, list[str]]:
    """The linear layers of a block, each with those of transformers that it fuses."""
    theirs, ours = f"model.layers.{block}", f"blocks.{block}"
    return {
        f"{ours}.qkv": [f"{theirs}.self_attn.{part}_proj" for part in "qkv"],
        f"{ours}.out": [f"{theirs}.self_attn.o_proj"],
        f"{ours}.gate_up": [f"{theirs}.mlp.{part}_proj" for part in ("gate", "up")],
        f"{ours}.down": [f"{theirs}.mlp.down_proj"],
    }


def rows(shape: Shape, name: str) -> list[int] | None:
    """How many rows of a fused parameter belong to each of its parts; None: there is one part."""
    if ".qkv" in name:
        keys = shape.num_key_value_heads * shape.head_dim
        return [shape.num_attention_heads * shape.head_dim, keys, keys]
    return [shape.intermediate_size] * 2 if ".gate_up" in name else None
