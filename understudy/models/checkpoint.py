"""Decoders on disk: the ordinary folder of transformers (config, safetensors, tokenizer)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from understudy.errors import CheckpointError
from understudy.models import adapters, names
from understudy.models.decoder import Decoder, Shape
from understudy.models.hub import TINY, read_config, resolve
from understudy.models.tokens import Tokens, copy_files

__all__ = ["TINY", "load_decoder", "read_shape", "resolve", "save_decoder"]

_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
_REQUIRED = {"vocab_size", "hidden_size", "intermediate_size"}
_REQUIRED |= {"num_hidden_layers", "num_attention_heads"}


class NotBuiltInError(CheckpointError):
    """A whole checkpoint, but of a model that the built-in decoder does not compute."""


def load_decoder(folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Decoder:
    """Build a decoder from a checkpoint folder, its weights kept as `dtype`.

    Tensors are read one by one into their place: no second copy of the model is ever held.
    """
    shape = read_shape(folder)
    with torch.device("meta"):
        model = Decoder(shape)
    model = model.to(dtype).to_empty(device=device)
    if shape.tie_word_embeddings:  # two empty matrices were made
        model.head.weight = model.embedding.weight
    stored = _Stored(folder)
    for ours, parameter in model.named_parameters():
        for name, part in named_parts(shape, ours, parameter.data):
            tensor = stored.tensor(name)
            if tensor.shape != part.shape:
                raise CheckpointError(
                    f"{stored.path(name)}: does not fit its config.json ({name} is "
                    f"{list(tensor.shape)}, not {list(part.shape)})"
                )
            part.copy_(tensor)
    return model


class _Stored:
    """The tensors of a folder, in one file of safetensors or in several with an index."""

    def __init__(self, folder: Path) -> None:
        self.whole = folder / "model.safetensors"
        self.files: dict[Path, Any] = {}
        index = folder / "model.safetensors.index.json"
        self.places: dict[str, str] | None = None
        if index.is_file() and not self.whole.is_file():
            try:
                self.places = dict(json.loads(index.read_text())["weight_map"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise CheckpointError(
                    f"{index}: cannot be read ({error}); copy it again"
                ) from error

    def path(self, name: str) -> Path:
        if self.places is None:
            return self.whole
        if name not in self.places:
            raise CheckpointError(f"{self.whole}.index.json: has no tensor {name!r}; copy it again")
        return self.whole.with_name(self.places[name])

    def tensor(self, name: str) -> Tensor:
        path = self.path(name)
        try:
            if path not in self.files:
                self.files[path] = safe_open(path, framework="pt")
            file = self.files[path]
            if name not in file.keys():  # noqa: SIM118 - it is no dictionary
                raise CheckpointError(f"{path}: has no tensor {name!r}; copy it again")
            found: Tensor = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error
        return found


def save_decoder(model: Decoder, folder: Path, source: Path, adapted: bool = True) -> None:
    """Write a checkpoint that transformers loads: adapters are folded in, or left out.

    What the source's config.json says beyond the sizes is kept, and so are its tokenizer's files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(model, source)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = checkpoint_tensors(model, adapted)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    copy_files(source, folder)


def checkpoint_tensors(model: Decoder, adapted: bool = True) -> dict[str, Tensor]:
    """The weights under transformers' names, each projection on its own."""
    state = adapters.merged_state(model, adapted)
    if model.shape.tie_word_embeddings:
        del state["head.weight"]
    return {
        name: part.detach().cpu().contiguous()
        for ours, whole in state.items()
        for name, part in named_parts(model.shape, ours, whole)
    }


def named_parts(shape: Shape, ours: str, whole: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors of transformers that one of the decoder's parameters is made of."""
    parts = names.parts_of(ours)
    sizes = [len(whole)] if len(parts) == 1 else shape.rows(ours.split(".")[-2])
    for part, tensor in zip(parts, whole.split(sizes), strict=True):
        yield names.transformers_name(part), tensor


def read_shape(folder: Path) -> Shape:
    """The sizes in config.json; what this decoder cannot compute is refused."""
    path, raw = folder / "config.json", read_config(folder)
    kind, rope = raw.get("model_type"), raw.get("rope_parameters") or {}
    scaling = (raw.get("rope_scaling") or {}) | rope
    rope_type = scaling.get("rope_type") or scaling.get("type", "default")  # the older name
    if kind not in _ARCHITECTURES:
        raise NotBuiltInError(f"{path}: model_type={kind} is not one of {sorted(_ARCHITECTURES)}")
    refused = {"rope_type": rope_type != "default", "mlp_bias": raw.get("mlp_bias", False)}
    refused["hidden_act"] = raw.get("hidden_act", "silu") != "silu"
    refused["attention_bias"] = kind == "llama" and raw.get("attention_bias", False)
    refused["use_sliding_window"] = raw.get("use_sliding_window", False)
    refused["quantization_config"] = raw.get("quantization_config") is not None
    for key, is_refused in refused.items():
        if is_refused:
            raise NotBuiltInError(f"{path}: this {key} is not supported by the built-in decoder")
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


def _config(model: Decoder, source: Path) -> dict[str, Any]:
    """config.json of a model: what its source has, and the sizes, whose names are its own."""
    shape = model.shape
    try:
        kept = json.loads((source / "config.json").read_text())
    except FileNotFoundError:  # a model that was never loaded
        tokens = Tokens(source)
        kept = {"pad_token_id": tokens.pad, "eos_token_id": tokens.end, "bos_token_id": None}
    fields: dict[str, Any] = {name: getattr(shape, name) for name in Shape.__dataclass_fields__}
    theta = fields["rope_theta"]
    fields["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    fields["architectures"] = [_ARCHITECTURES[shape.model_type]]
    fields["torch_dtype"] = str(model.embedding.weight.dtype).removeprefix("torch.")
    kept.pop("dtype", None)  # the newer name
    return {"hidden_act": "silu"} | kept | fields
