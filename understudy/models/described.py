"""What a model is, read from its files, and what would run it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import CheckpointError
from understudy.models import gguf, hub
from understudy.models.chat import Chat, has_template
from understudy.models.precision import base_folder, headers_of, parameters_of

# The names that configurations of transformers give a figure.
_NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads",),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "vocabulary": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions", "max_seq_len"),
}
_MULTI_QUERY = ("falcon", "gpt_bigcode")  # unless their configuration says something else
_FEWER = ("multi_query", "multi_query_attention", "new_decoder_architecture", "attn_config")
_STORED = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Description:
    """What a model is. None is what its files do not say, or not before they are unpacked."""

    model: str
    source: str  # folder, GGUF file, or adapter, and of what
    architecture: str
    parameters: int
    layers: int | None
    heads: int | None
    kv_heads: int | None
    hidden_size: int | None
    vocabulary: int | None
    context: int | None
    tied_head: bool | None
    chat_template: bool
    system_message: bool | None  # whether the template writes one
    stored: dict[str, float]  # how weights are kept on disk: the share of them in each precision
    backend: str | None  # what would run it: builtin or transformers
    why_not_builtin: str | None = None


def describe(model: str, unpack: bool = True) -> Description:
    """unpack: unpack a GGUF file that is not yet, as a run would."""
    if gguf.names_gguf(model):
        return _of_file(model, unpack)
    folder = hub.resolve(model)
    source = "folder" if folder != hub.TINY else "inside the package"
    if (folder / hub.ADAPTER).is_file():
        from understudy.models import adapters

        base, lora, _ = adapters.read_config(folder)
        source = f"adapter of rank {lora.rank} on {base}"
    folder = base_folder(model)
    raw = _config(folder)
    figures = {name: _first(raw, keys) for name, keys in _NAMES.items()}
    if figures["kv_heads"] is None and not _shares_heads(raw):
        figures["kv_heads"] = figures["heads"]
    kept: Counter[str] = Counter()
    for kind, shape in headers_of(folder):
        kept[_STORED.get(kind, kind.lower())] += math.prod(shape)
    names = raw.get("architectures") or [str(raw.get("model_type", "unknown"))]
    backend, reason = _backend(folder)
    return Description(
        model=model,
        source=source,
        architecture=str(names[0]),
        parameters=parameters_of(model),
        tied_head=raw.get("tie_word_embeddings"),
        chat_template=has_template(folder),
        system_message=Chat(folder).takes_system if has_template(folder) else None,
        stored=_shares(kept),
        backend=backend,
        why_not_builtin=reason,
        **figures,
    )


def _of_file(model: str, unpack: bool) -> Description:
    packed = gguf.header_of(model)
    backend, reason, system = None, None, None
    if unpack or gguf.is_unpacked(model):
        folder = gguf.unpacked(model)
        backend, reason = _backend(folder)
        system = Chat(folder).takes_system if has_template(folder) else None
    return Description(
        model=model,
        source="GGUF file",
        architecture=packed.architecture,
        parameters=sum(packed.kinds.values()),
        layers=packed.layers,
        heads=packed.heads,
        kv_heads=packed.kv_heads,
        hidden_size=packed.hidden_size,
        vocabulary=packed.vocabulary,
        context=packed.context,
        tied_head=packed.tied_head,
        chat_template=packed.template is not None,
        system_message=system,
        stored=_shares(packed.kinds),
        backend=backend,
        why_not_builtin=reason,
    )


def _backend(folder: Path) -> tuple[str, str | None]:
    from understudy.models.checkpoint import NotBuiltInError, read_shape

    try:
        read_shape(folder)
    except NotBuiltInError as error:
        _check_trainable(folder)
        return "transformers", str(error).partition(": ")[2]
    return "builtin", None


def _check_trainable(folder: Path) -> None:
    try:
        from understudy.models.transformers_model import check_causal

        check_causal(folder)
    except ImportError as error:
        raise CheckpointError(
            f"{folder}: this model needs transformers; pip install 'understudy[models]'"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder}: transformers cannot read it ({reason[:300]})") from error


def _config(folder: Path) -> dict[str, Any]:
    raw = hub.read_config(folder)
    named = raw.get("text_config")  # of the part that writes, where a model has others
    return raw | named if isinstance(named, dict) else raw


def _shares_heads(raw: Mapping[str, Any]) -> bool:
    """Whether heads for keys and values may be fewer, and their number stands nowhere."""
    return raw.get("model_type") in _MULTI_QUERY or any(raw.get(name) for name in _FEWER)


def _first(raw: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((raw[key] for key in keys if raw.get(key) is not None), None)


def _shares(kept: Mapping[str, int]) -> dict[str, float]:
    whole = sum(kept.values())
    ordered = sorted(kept.items(), key=lambda pair: -pair[1])
    return {kind: count / whole for kind, count in ordered}
