"""Low-rank adapters (LoRA) through peft, kept on disk in its own format.

The built-in decoder fuses projections, so one adapter spans problem, key and value: on disk it is
one per projection, with A shared and B taken apart, and peft reads it under transformers' names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from understudy.errors import CheckpointError, ConfigError
from understudy.models import names
from understudy.models.ask_head import AskHead
from understudy.models.decoder import Decoder
from understudy.models.lora import Lora
from understudy.models.request import ends

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_TOKEN = "token_adapter.trainable_tokens_delta"  # so called, but it holds the whole row
_FUSED = ("qkv", "out", "gate_up", "down")
# Fields of a configuration of peft that ask for more than two matrices per layer and one scale.
_BEYOND_PLAIN = ["use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern"]
_BEYOND_PLAIN += ["lora_bias"]
# Beginnings of an adapter that take their part out of the base: on the base itself it is wrong.
_CHANGE_BASE = ("pissa", "olora", "loftq", "corda")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def adapt(model: nn.Module, lora: Lora, ask: int, train_row: bool, seed: int) -> Lora:
    """Freeze a model and give it adapters in float32, and its head a trainable row to ask.

    Returned are the settings with the layers' names as transformers has them.
    """
    peft, built_in = _peft(), isinstance(model, Decoder)
    named = tuple(lora.targets or (_PROJECTIONS if built_in else _linear_names(model)))
    _, head = ends(model)
    of_head = [name for name, module in model.named_modules() if module is head]
    if any(name.endswith(target) for name in of_head for target in named):
        raise ConfigError(
            f"lora.targets={list(named)}: the head takes no adapter beside the request's row; "
            f"leave {of_head[0]} out"
        )
    targets = _FUSED if built_in else named
    if built_in and set(named) != set(_PROJECTIONS):
        raise ConfigError(
            f"lora.targets={list(lora.targets)}: the built-in decoder adapts every projection; "
            "leave targets out, or set backend=transformers"
        )
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=list(targets)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            peft.inject_adapter_in_model(config, model)
        except ValueError as error:
            raise ConfigError(
                f"lora.targets={list(targets)}: fits no layer of this model ({error})"
            ) from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
    if train_row and head.bias is None:  # peft leaves a bias out beside a trained row
        _set_head(model, AskHead(head, ask))
    return Lora(rank=lora.rank, alpha=lora.alpha, targets=named)


def _linear_names(model: nn.Module) -> list[str]:
    """The last names of every linear layer but the head."""
    _, head = ends(model)
    kinds = ("Linear", "Conv1D")  # the latter is GPT-2's
    found = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if type(module).__name__ in kinds and module is not head
    }
    return sorted(found)


def _set_head(model: nn.Module, head: nn.Linear) -> None:
    if isinstance(model, Decoder):
        model.head = head
    else:
        known: Any = model
        known.set_output_embeddings(head)


def merged_state(model: nn.Module, adapted: bool = True) -> dict[str, Tensor]:
    """The state of a model as if its adapters had been folded into its weights; or as if it had
    none, where not adapted."""
    modules = dict(model.named_modules())
    state = {}
    for name, tensor in model.state_dict().items():
        owner, _, kind = name.rpartition(".")
        if "lora_" in name or (isinstance(modules[owner], AskHead) and kind == "row"):
            continue
        layer: Any = modules[owner.removesuffix(".base_layer")]
        if adapted and owner.endswith(".base_layer") and kind == "weight":
            tensor = (tensor.float() + layer.get_delta_weight("default").float()).to(tensor.dtype)
        state[name.replace(".base_layer.", ".")] = tensor
    return _with_row(model, state) if adapted else state


def _with_row(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The trained row for the request where the head has it, tied or not."""
    _, head = ends(model)
    if not isinstance(head, AskHead):
        return state
    trained = head.weight.detach().clone()
    trained[head.ask] = head.row.detach().to(trained.dtype)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter is head.weight:
            state[name] = trained
    return state


def save_adapter(model: nn.Module, folder: Path, base: str, lora: Lora) -> None:
    """Write adapter_config.json and adapter_model.safetensors as peft does."""
    folder.mkdir(parents=True, exist_ok=True)
    _, head = ends(model)
    rows: dict[str, list[int]] = {}
    tensors = dict(_adapter_tensors(model))
    if isinstance(head, AskHead):
        name = _row_name(model)
        rows = {name.rpartition(".")[2]: [head.ask]}
        tensors[f"{_PREFIX}{name}.{_TOKEN}"] = head.row.detach()[None]
    name, _, revision = base.partition("@")
    config = _peft().LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=list(lora.targets),
        base_model_name_or_path=name,
        revision=revision or None,
        task_type="CAUSAL_LM",
        inference_mode=True,
        trainable_token_indices=rows or None,
    )
    config.save_pretrained(str(folder))
    stored = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})


def _row_name(model: nn.Module) -> str:
    """The module whose row for the request peft replaces: of tied ones the embedding."""
    embedding, head = ends(model)
    wanted = embedding if embedding.weight is head.weight else head
    if isinstance(model, Decoder):
        return "model.embed_tokens" if wanted is embedding else "lm_head"
    return next(name for name, module in model.named_modules() if module is wanted)


def _adapter_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(model, Decoder):
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                yield _PREFIX + name.replace(".default.", "."), parameter
        return
    weights = dict(model.named_parameters())
    for number in range(len(model.blocks)):
        for ours, theirs in names.projections(number).items():
            a, b = (weights[f"{ours}.lora_{side}.default.weight"] for side in "AB")
            parts = b.split(names.rows(model.shape, ours) or [len(b)])
            for name, part in zip(theirs, parts, strict=True):
                yield f"{_PREFIX}{name}.lora_A.weight", a.clone()
                yield f"{_PREFIX}{name}.lora_B.weight", part


def read_config(folder: Path) -> tuple[str, Lora, bool]:
    """The base that an adapter's folder points at, its settings, and whether a row is in it."""
    path = folder / CONFIG
    try:
        raw = json.loads(path.read_text())
        base, revision = raw["base_model_name_or_path"], raw.get("revision")
        targets = raw["target_modules"] or ()
        lora = Lora(rank=raw["r"], alpha=raw["lora_alpha"], targets=tuple(targets))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error
    if raw.get("peft_type") != "LORA":
        raise CheckpointError(f"{path}: only LoRA is read, not {raw.get('peft_type')}")
    beyond = [key for key in _BEYOND_PLAIN if raw.get(key)]
    if isinstance(targets, str):
        beyond.append("target_modules")
    if raw.get("bias", "none") != "none":
        beyond.append("bias")
    if str(raw.get("init_lora_weights")).startswith(_CHANGE_BASE):
        beyond.append("init_lora_weights")
    if beyond:
        raise CheckpointError(
            f"{path}: only plain LoRA on named layers is read, this one sets {', '.join(beyond)}; "
            "merge it into its base and give that"
        )
    return (
        f"{base}@{revision}" if revision else base,
        lora,
        bool(raw.get("trainable_token_indices")),
    )


@torch.no_grad()
def load_adapter(model: nn.Module, folder: Path, ask: int) -> None:
    """Put the adapter of a folder into a model that was adapted alike."""
    path = folder / WEIGHTS
    rows = json.loads((folder / CONFIG).read_text()).get("trainable_token_indices") or {}
    trained = list(rows.values()) if isinstance(rows, dict) else [rows]
    if trained not in ([], [[ask]]):
        raise CheckpointError(
            f"{folder / CONFIG}: trains the rows of tokens {trained}; only that of the request, "
            f"{ask}, is read; merge it into its base and give that"
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error
    _, head = ends(model)
    known = {name for name, _ in _adapter_tensors(model)}
    try:
        if isinstance(head, AskHead):
            head.row.copy_(tensors.pop(f"{_PREFIX}{_row_name(model)}.{_TOKEN}")[0])
        if left_over := sorted(set(tensors) - known):
            raise KeyError(f"{left_over[0]} has no place in it")
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(_stored(model, name, tensors))
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: does not fit the model ({reason})") from error


def _stored(model: nn.Module, name: str, tensors: dict[str, Tensor]) -> Tensor:
    """The tensor of one of our adapter's parameters."""
    if not isinstance(model, Decoder):
        return tensors[_PREFIX + name.replace(".default.", ".")]
    ours, _, rest = name.partition(".lora_")
    number = int(ours.split(".")[1])
    parts = [
        tensors[f"{_PREFIX}{part}.lora_{rest[0]}.weight"]
        for part in names.projections(number)[ours]
    ]
    if rest.startswith("B"):
        return torch.cat(parts)
    if not all(torch.equal(part, parts[0]) for part in parts):
        raise CheckpointError(
            f"{ours}: this adapter was made with an A for each projection, which the built-in "
            "decoder shares; set backend=transformers"
        )
    return parts[0]


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigError("lora needs peft; pip install 'understudy[models]'") from error
    return peft
