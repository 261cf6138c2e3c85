"""The names of the built-in decoder's parameters, and those of transformers."""

from __future__ import annotations

import re

# Layers that the decoder computes as one, each with the layers of transformers that it joins.
FUSED = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "gate_up": ("gate_proj", "up_proj"),
}
PROJECTIONS = (*FUSED["qkv"], "o_proj", *FUSED["gate_up"], "down_proj")

_ENDS = {"embedding": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
_IN_BLOCK = {"attention_norm": "input_layernorm", "feed_norm": "post_attention_layernorm"}
_IN_BLOCK |= {f"qkv.{name}": f"self_attn.{name}" for name in FUSED["qkv"]}
_IN_BLOCK |= {f"gate_up.{name}": f"mlp.{name}" for name in FUSED["gate_up"]}
_IN_BLOCK |= {"o_proj": "self_attn.o_proj", "down_proj": "mlp.down_proj"}
_LAYER = re.compile(rf"blocks\.(\d+)\.({'|'.join(map(re.escape, _IN_BLOCK))})(?=\.|$)")
_END = re.compile(rf"^({'|'.join(_ENDS)})(?=\.|$)")


def transformers_name(name: str) -> str:
    """The name that transformers gives a layer or a parameter of the built-in decoder.

    >>> transformers_name("blocks.3.qkv.q_proj.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    name = _LAYER.sub(lambda found: f"model.layers.{found[1]}.{_IN_BLOCK[found[2]]}", name)
    return _END.sub(lambda found: _ENDS[found[1]], name)


def parts_of(name: str) -> list[str]:
    """The parameters that a fused one joins, or the one itself.

    >>> parts_of("blocks.3.gate_up.weight")
    ['blocks.3.gate_up.gate_proj.weight', 'blocks.3.gate_up.up_proj.weight']
    """
    layer, _, kind = name.rpartition(".")
    fused = FUSED.get(layer.rpartition(".")[2])
    return [f"{layer}.{part}.{kind}" for part in fused] if fused else [name]
