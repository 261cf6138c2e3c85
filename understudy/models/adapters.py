"""Low-rank adapters (LoRA) through peft, kept on disk in its own format."""

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
from understudy.models.ask_head import AskHead
from understudy.models.local_model import LocalModel
from understudy.models.lora import Lora

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_TOKEN = "token_adapter.trainable_tokens_delta"  # so called, but it holds the whole row
# Fields of a configuration of peft that ask for more than two matrices per layer and one scale.
_BEYOND_PLAIN = ["use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern"]
_BEYOND_PLAIN += ["lora_bias"]
# Beginnings of an adapter that take their part out of the base: on the base itself it is wrong.
_CHANGE_BASE = ("pissa", "olora", "loftq", "corda")


def adapt(model: LocalModel, lora: Lora, ask: int, train_row: bool, seed: int) -> Lora:
    """Freeze a model and give it adapters in float32, and its head a trainable row to ask.

    Returned are the settings with the names of the adapted layers.
    """
    peft, network, head = _peft(), model.network, model.head
    targets = tuple(lora.targets or model.projections)
    head_name = _named(model, head)
    if any(head_name.endswith(target) for target in targets):
        raise ConfigError(
            f"lora.targets={list(targets)}: the head takes no adapter beside the request's row; "
            f"leave {head_name} out"
        )
    model.separate()
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=list(targets)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            peft.inject_adapter_in_model(config, network)
        except ValueError as error:
            raise ConfigError(
                f"lora.targets={list(targets)}: fits no layer of this model ({error})"
            ) from error
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
    if train_row and head.bias is None:  # peft leaves a bias out beside a trained row
        model.set_head(AskHead(head, ask))
    return Lora(rank=lora.rank, alpha=lora.alpha, targets=targets)


def merged_state(network: nn.Module, adapted: bool = True) -> dict[str, Tensor]:
    """The state of a network as if its adapters had been folded into its weights; or as if it had
    none, where not adapted."""
    modules = dict(network.named_modules())
    state = {}
    for name, tensor in network.state_dict().items():
        owner, _, kind = name.rpartition(".")
        if "lora_" in name or (isinstance(modules[owner], AskHead) and kind == "row"):
            continue
        layer: Any = modules[owner.removesuffix(".base_layer")]
        if adapted and owner.endswith(".base_layer") and kind == "weight":
            tensor = (tensor.float() + layer.get_delta_weight("default").float()).to(tensor.dtype)
        state[name.replace(".base_layer.", ".")] = tensor
    return _with_row(network, state) if adapted else state


def _with_row(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The trained row for the request where the head has it, tied or not."""
    heads = [module for module in network.modules() if isinstance(module, AskHead)]
    for head in heads:
        trained = head.weight.detach().clone()
        trained[head.ask] = head.row.detach().to(trained.dtype)
        for name, parameter in network.named_parameters(remove_duplicate=False):
            if parameter is head.weight:
                state[name] = trained
    return state


def save_adapter(
    model: LocalModel, folder: Path, base: str, lora: Lora, with_row: bool = True
) -> None:
    """Write adapter_config.json and adapter_model.safetensors as peft does.

    with_row: with the request's row, where it is trained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[int]] = {}
    tensors: dict[str, Tensor] = {_stored_name(model, name): w for name, w in _adapter(model)}
    if with_row and isinstance(model.head, AskHead):
        name = _row_owner(model)
        rows = {name.rpartition(".")[2]: [model.head.ask]}
        tensors[f"{_PREFIX}{name}.{_TOKEN}"] = model.head.row[None]
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


def _named(model: LocalModel, module: nn.Module) -> str:
    """The name of a module, as transformers has it."""
    found = next(name for name, each in model.network.named_modules() if each is module)
    return model.transformers_name(found)


def _row_owner(model: LocalModel) -> str:
    """The module whose row for the request peft replaces: of tied ones the embedding."""
    tied = model.embedding.weight is model.head.weight
    return _named(model, model.embedding if tied else model.head)


def _adapter(model: LocalModel) -> Iterator[tuple[str, nn.Parameter]]:
    return (pair for pair in model.network.named_parameters() if "lora_" in pair[0])


def _stored_name(model: LocalModel, name: str) -> str:
    """The name in a file of one of an adapter's parameters."""
    return _PREFIX + model.transformers_name(name).replace(".default.", ".")


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
def load_adapter(model: LocalModel, folder: Path, ask: int) -> None:
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
    adapter = {_stored_name(model, name): value for name, value in _adapter(model)}
    try:
        if isinstance(model.head, AskHead):
            model.head.row.copy_(tensors.pop(f"{_PREFIX}{_row_owner(model)}.{_TOKEN}")[0])
        if left_over := sorted(set(tensors) - set(adapter)):
            raise KeyError(f"{left_over[0]} has no place in it")
        for name, parameter in adapter.items():
            parameter.copy_(tensors[name])
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: does not fit the model ({reason})") from error


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigError("lora needs peft; pip install 'understudy[models]'") from error
    return peft
