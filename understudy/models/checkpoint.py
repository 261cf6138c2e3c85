"""Decoders on disk: the ordinary folder of transformers (config, safetensors, tokenizer)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.errors import CheckpointError
from understudy.models.decoder import Decoder, Shape

TINY = Path(__file__).parent / "tiny"
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
_REQUIRED = {"vocab_size", "hidden_size", "intermediate_size"}
_REQUIRED |= {"num_hidden_layers", "num_attention_heads"}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def resolve(model: str) -> Path:
    """The folder behind a `model` setting: `tiny` is the one inside the package."""
    folder = TINY if model == "tiny" else Path(model)
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"model={model}: no checkpoint there (config.json is missing); "
            "give 'tiny' or the path of a transformers checkpoint folder"
        )
    return folder


def load_decoder(folder: Path) -> Decoder:
    """Build a decoder from a checkpoint folder, float32."""
    shape = read_shape(folder)
    model = Decoder(shape)
    path = folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error
    try:
        state = {ours: _joined(tensors, theirs) for ours, theirs in _names(shape)}
        model.load_state_dict(state, strict=not shape.tie_word_embeddings)
    except KeyError as error:
        raise CheckpointError(f"{path}: has no tensor {error}; copy it again") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: does not fit its config.json ({reason})") from error
    return model


def save_decoder(model: Decoder, folder: Path, tokenizer: Path) -> None:
    """Write a checkpoint that transformers loads, with the tokenizer files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_config(model.shape), indent=2) + "\n")
    save_file(checkpoint_tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
    for name in _TOKENIZER_FILES:
        if (tokenizer / name).is_file() and tokenizer != folder:
            shutil.copyfile(tokenizer / name, folder / name)


def checkpoint_tensors(model: Decoder) -> dict[str, Tensor]:
    """The weights under transformers' names, fused projections taken apart."""
    state, shape, tensors = model.state_dict(), model.shape, {}
    for ours, theirs in _names(shape):
        for name, part in zip(theirs, state[ours].split(_sizes(shape, ours, theirs)), strict=True):
            tensors[name] = part.detach().cpu().contiguous()
    return tensors


def read_shape(folder: Path) -> Shape:
    """The sizes in config.json; what this decoder cannot compute is refused."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: is not a JSON object; copy it again")
    kind, rope = raw.get("model_type"), raw.get("rope_parameters") or {}
    scaling = (raw.get("rope_scaling") or {}) | rope
    rope_type = scaling.get("rope_type") or scaling.get("type", "default")  # the older name
    if kind not in _ARCHITECTURES:
        raise CheckpointError(f"{path}: model_type={kind} is not one of {sorted(_ARCHITECTURES)}")
    refused = {"rope_type": rope_type != "default", "mlp_bias": raw.get("mlp_bias", False)}
    refused["hidden_act"] = raw.get("hidden_act", "silu") != "silu"
    refused["attention_bias"] = kind == "llama" and raw.get("attention_bias", False)
    refused["use_sliding_window"] = raw.get("use_sliding_window", False)
    refused["quantization_config"] = raw.get("quantization_config") is not None
    for key, is_refused in refused.items():
        if is_refused:
            raise CheckpointError(f"{path}: this {key} is not supported by the built-in decoder")
    if missing := [key for key in sorted(_REQUIRED) if not raw.get(key)]:
        raise CheckpointError(f"{path}: has no {', '.join(missing)}; copy it again")
    heads = raw["num_attention_heads"]
    return Shape(
        model_type=kind,
        vocab_size=raw["vocab_size"],
        hidden_size=raw["hidden_size"],
        intermediate_size=raw["intermediate_size"],
        num_hidden_layers=raw["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=raw.get("num_key_value_heads") or heads,
        head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
        rms_norm_eps=raw.get("rms_norm_eps", 1e-6),
        rope_theta=float(rope.get("rope_theta") or raw.get("rope_theta") or 10000.0),
        tie_word_embeddings=raw.get("tie_word_embeddings", False),
        max_position_embeddings=raw.get("max_position_embeddings", 2048),
    )


def _config(shape: Shape) -> dict[str, Any]:
    """config.json of a shape: its fields are transformers' own."""
    fields: dict[str, Any] = {name: getattr(shape, name) for name in Shape.__dataclass_fields__}
    theta = fields.pop("rope_theta")
    fields["architectures"] = [_ARCHITECTURES[shape.model_type]]
    fields |= {"hidden_act": "silu", "torch_dtype": "float32", "rope_theta": theta}
    fields["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    return fields | {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}


def _names(shape: Shape) -> Iterator[tuple[str, list[str]]]:
    """Our parameter names, each with the names of the tensors it is made of."""
    yield "embedding.weight", ["model.embed_tokens.weight"]
    for i in range(shape.num_hidden_layers):
        theirs, ours = f"model.layers.{i}", f"blocks.{i}"
        yield f"{ours}.attention_norm.weight", [f"{theirs}.input_layernorm.weight"]
        kinds = ("weight", "bias") if shape.attention_bias else ("weight",)
        for kind in kinds:
            yield f"{ours}.qkv.{kind}", [f"{theirs}.self_attn.{p}_proj.{kind}" for p in "qkv"]
        yield f"{ours}.out.weight", [f"{theirs}.self_attn.o_proj.weight"]
        yield f"{ours}.feed_norm.weight", [f"{theirs}.post_attention_layernorm.weight"]
        gate_up = [f"{theirs}.mlp.{part}_proj.weight" for part in ("gate", "up")]
        yield f"{ours}.gate_up.weight", gate_up
        yield f"{ours}.down.weight", [f"{theirs}.mlp.down_proj.weight"]
    yield "norm.weight", ["model.norm.weight"]
    if not shape.tie_word_embeddings:
        yield "head.weight", ["lm_head.weight"]


def _joined(tensors: dict[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([tensors[name].float() for name in names])


def _sizes(shape: Shape, ours: str, theirs: list[str]) -> int | list[int]:
    """How many rows of a fused parameter belong to each of its parts."""
    if ".qkv." in ours:
        keys = shape.num_key_value_heads * shape.head_dim
        return [shape.num_attention_heads * shape.head_dim, keys, keys]
    if ".gate_up." in ours:
        return [shape.intermediate_size] * 2
    return 10**9  # one part: all of it
