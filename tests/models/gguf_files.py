"""A small Llama with grouped heads, as a folder and as the GGUF file that llama.cpp makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from tests.models import small
from tests.models.small import SPECIAL, TEMPLATE, network, tokenizer, write_tokenizer

# Every row is a whole number of blocks of 32, as quantisation wants it.
SIZES = small.SIZES | {"vocab_size": 320, "intermediate_size": 64}
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OUTSIDE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_both(
    folder: Path, file: Path, rotary: dict[str, Any] | None = None, **changes: Any
) -> None:
    """The same model as a checkpoint folder and as a GGUF file; changes: of what the file says."""
    model = network("llama", **SIZES, rope_parameters=rotary or PLAIN)
    model.save_pretrained(folder)
    write_tokenizer(folder, chat=True)
    write_gguf(file, model, **changes)


def write_gguf(
    file: Path,
    model: Any,
    architecture: str = "llama",
    leave_out: str = "",
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    more: dict[str, int | str] | None = None,
    factors: list[float] | None = None,
    template: str | None = TEMPLATE,
) -> None:
    """leave_out: a tensor that the file lacks. kind: how matrices are kept. more: metadata.
    factors: what the frequencies of rotary positions are divided by."""
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(SIZES["max_position_embeddings"])
    writer.add_embedding_length(SIZES["hidden_size"])
    writer.add_block_count(SIZES["num_hidden_layers"])
    writer.add_feed_forward_length(SIZES["intermediate_size"])
    writer.add_head_count(SIZES["num_attention_heads"])
    writer.add_head_count_kv(SIZES["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_rope_freq_base(model.config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(SIZES["hidden_size"] // SIZES["num_attention_heads"])
    for key, value in (more or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(key, value)
    if factors:
        writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    _add_tokenizer(writer)
    if template is not None:
        writer.add_chat_template(template)
    for name, tensor in model.state_dict().items():
        ours = _name_in_file(name)
        if ours != leave_out:
            array = _as_llama_cpp(name, tensor).numpy()
            packed = kind if array.ndim > 1 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(ours, gguf.quantize(array, packed), raw_dtype=packed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    made = tokenizer()
    words = sorted(made.get_vocab(), key=made.token_to_id)
    types = [3 if word in SPECIAL else 1 for word in words]  # control tokens, and normal ones
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_types(types)
    writer.add_token_merges(_merges(made))
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)


def _merges(made: Any) -> list[str]:
    merges = json.loads(made.to_str())["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def _name_in_file(name: str) -> str:
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    _, _, layer, part = name.split(".", 3)
    owner, _, kind = part.rpartition(".")
    return f"blk.{layer}.{_LAYER[owner]}.{kind}"


def _as_llama_cpp(name: str, tensor: Tensor) -> Tensor:
    """llama.cpp turns neighbouring numbers of a head together, transformers those half a head
    apart."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    if (owner := name.split(".")[-2]) not in heads:
        return tensor.contiguous()
    count = SIZES[heads[owner]]
    halves = tensor.reshape(count, 2, len(tensor) // count // 2, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape).contiguous()


def all_ids() -> Tensor:
    return torch.randint(3, 320, (2, 9), generator=torch.Generator().manual_seed(1))
