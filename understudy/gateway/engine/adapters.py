"""Adapters of many versions beside one base: read from peft's folders, checked, used by rows.

Rows of several versions go through a layer together: its own product is one for all of them, and
each version's change is added to its own tokens.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import CheckpointError
from understudy.gateway.engine.digests import WEIGHTS, digest_of, read_weights
from understudy.models.adapters import CONFIG, read_config
from understudy.models.decoder import Decoder
from understudy.models.local_model import LocalModel
from understudy.models.names import FUSED

_LORA = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
_ROW = "token_adapter.trainable_tokens_delta"

Pair = tuple[Tensor, Tensor]  # (rank, in) and (out, rank), the latter scaled


@dataclass(frozen=True, slots=True)
class Adapter:
    """The tensors of an adapter's folder: per layer, by transformers' name, and a row to ask."""

    base: str  # what it was trained on
    layers: Mapping[str, Pair]
    ask_row: Tensor | None
    digest: str


@dataclass(frozen=True, slots=True)
class Fitted:
    """An adapter as a network's layers take it, and what its row to ask is moved by."""

    pairs: Mapping[str, Pair]  # by the path of the layer
    row: Tensor | None


def read_adapter(folder: Path, ask: int) -> Adapter:
    """ask: the token of the request, the only one whose row an adapter may hold."""
    base, lora, _ = read_config(folder)
    rows = json.loads((folder / CONFIG).read_text()).get("trainable_token_indices") or {}
    trained = list(rows.values()) if isinstance(rows, dict) else [rows]
    if trained not in ([], [[ask]]):
        raise CheckpointError(
            f"{folder / CONFIG}: trains the rows of tokens {trained}; only that of the request, "
            f"{ask}, is served; merge it into its base and give that"
        )
    weights = read_weights(folder)
    tensors = _tensors(weights, folder / WEIGHTS)
    sides: dict[str, dict[str, Tensor]] = {}
    row: Tensor | None = None
    for name, tensor in tensors.items():
        if found := _LORA.fullmatch(name):
            sides.setdefault(found["layer"], {})[found["side"]] = tensor
        elif name.endswith(_ROW):
            row = tensor[0]
        else:
            raise CheckpointError(f"{folder / WEIGHTS}: {name} is no tensor of a plain adapter")
    scale = lora.alpha / (lora.rank or 1)
    layers = {}
    for layer, pair in sides.items():
        if set(pair) != {"A", "B"} or len(pair["A"]) != pair["B"].shape[1]:
            raise CheckpointError(f"{folder / WEIGHTS}: {layer} is not whole; copy it again")
        layers[layer] = (pair["A"].float(), pair["B"].float() * scale)
    return Adapter(base, layers, row, digest_of(weights))


def _tensors(weights: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load(weights)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error


class Plan:
    """Which tokens of a pass belong to which version; None: all of them."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, slice | None]] = []


class VersionedLinear(nn.Module):
    """A linear layer with the adapters of many versions beside it."""

    def __init__(self, layer: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.layer, self.plan = layer, plan
        self.pairs: dict[str, Pair] = {}

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        for version, tokens in self.plan.parts:
            if (pair := self.pairs.get(version)) is None:
                continue
            part = x if tokens is None else x[..., tokens, :]
            down, up = pair
            change = F.linear(F.linear(part.to(down.dtype), down), up).to(found.dtype)
            if tokens is None:
                found = found + change
            else:
                found[..., tokens, :] += change
        return found


class _VersionedHead(nn.Module):
    """A head with the rows to ask of many versions, where logits are more than its product."""

    def __init__(self, head: nn.Linear, adapters: Adapters) -> None:
        super().__init__()
        self.layer, self.adapters = head, adapters

    @property
    def weight(self) -> Tensor:
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        return self.layer.bias

    def forward(self, states: Tensor) -> Tensor:
        logits: Tensor = self.layer(states)
        for version, tokens in self.adapters.plan.parts:
            assert tokens is None, "such a model passes one version at a time"
            if (lead := self.adapters.lead(version, states)) is not None:
                logits[..., self.adapters.ask] += lead.to(logits.dtype)
        return logits


class Adapters:
    """The adapters of one base, by version. Base weights are kept once, and never changed.

    dtype: that products with adapters are computed in.
    """

    def __init__(self, model: LocalModel, ask: int, dtype: torch.dtype) -> None:
        self.model, self.ask, self.dtype = model, ask, dtype
        self.plan = Plan()
        self._layers: dict[str, VersionedLinear] = {}
        self._wrapping = threading.Lock()  # held while layers are replaced, or listed
        self._own = model.head.weight[ask].detach().float().clone()  # before any cast
        self._rows: dict[str, Tensor] = {}  # by version, what a row to ask is moved by

    def fit(self, adapter: Adapter) -> Fitted:
        """An adapter as this network's layers take it; may run beside their passes. Refuses one
        that does not fit."""
        row = adapter.ask_row
        return Fitted(self._pairs(adapter), None if row is None else row.to(self._own) - self._own)

    def add(self, version: str, fitted: Fitted) -> None:
        """Quick, since it is done between two tokens of all that are being written."""
        with self._wrapping:
            for path, pair in fitted.pairs.items():
                if path not in self._layers:
                    self._layers[path] = self._wrapped(path)
                self._layers[path].pairs[version] = pair
        if fitted.row is not None:
            self._rows[version] = fitted.row

    def remove(self, version: str) -> None:
        for layer in self._layers.values():
            layer.pairs.pop(version, None)
        self._rows.pop(version, None)

    def raise_asking(self, logits: Tensor, states: Tensor, versions: list[str]) -> Tensor:
        """Logits (rows, vocabulary) of rows of these versions, as their trained rows to ask have
        them."""
        for version in {*versions} & {*self._rows}:
            rows = [place for place, each in enumerate(versions) if each == version]
            lead = self.lead(version, states[rows])
            assert lead is not None
            logits[rows, self.ask] += lead.to(logits.dtype)
        return logits

    def lead(self, version: str, states: Tensor) -> Tensor | None:
        """What a version's trained row adds to the logit of asking: (...,); None: it has none."""
        row = self._rows.get(version)
        return None if row is None else (states.float() * row).sum(dim=-1)

    def wrap_head(self) -> None:
        """Have the head itself add what rows to ask add."""
        self.model.set_head(_VersionedHead(self.model.head, self))  # type: ignore[arg-type]

    def _pairs(self, adapter: Adapter) -> dict[str, Pair]:
        """The pairs as this network's layers take them, by the path of the layer."""
        left, found = dict(adapter.layers), {}
        with self._wrapping:
            layers = list(self._linear_layers())
        for path, layer in layers:
            parts = self._parts(path, layer)
            if not any(name in left for name, _, _ in parts):
                continue
            pairs = []
            for name, rows, columns in parts:
                down, up = left.pop(name, (torch.zeros(0, columns), torch.zeros(rows, 0)))
                if (up.shape[0], down.shape[1]) != (rows, columns):
                    raise CheckpointError(
                        f"{name}: an adapter of {up.shape[0]} by {down.shape[1]} for a layer of "
                        f"{rows} by {columns}; it was trained on another model"
                    )
                pairs.append((down, up))
            down = torch.cat([pair[0] for pair in pairs])
            up = torch.block_diag(*(pair[1] for pair in pairs))
            found[path] = tuple(each.to(self.model.device, self.dtype) for each in (down, up))
        if left:
            raise CheckpointError(f"{min(left)}: this model has no such layer")
        return found  # type: ignore[return-value]

    def _linear_layers(self) -> Iterator[tuple[str, nn.Module]]:
        for path, module in self.model.network.named_modules():
            plain = path.removesuffix(".layer")
            if type(module).__name__ in ("Linear", "Conv1D") and module is not self.model.head:
                yield (plain if plain in self._layers else path), module

    def _parts(self, path: str, layer: Any) -> list[tuple[str, int, int]]:
        """(transformers' name, rows, columns) of the layers that one of the network joins."""
        rows, columns = layer.weight.shape
        if type(layer).__name__ == "Conv1D":
            rows, columns = columns, rows
        fused = path.rpartition(".")[2]
        if isinstance(self.model.network, Decoder) and fused in FUSED:
            sizes = self.model.network.shape.rows(fused)
            names = [f"{path}.{part}" for part in FUSED[fused]]
        else:
            names, sizes = [path], [rows]
        given = zip(names, sizes, strict=True)
        return [(self.model.transformers_name(name), size, columns) for name, size in given]

    def _wrapped(self, path: str) -> VersionedLinear:
        owner, _, name = path.rpartition(".")
        parent = self.model.network.get_submodule(owner)
        layer = VersionedLinear(getattr(parent, name), self.plan)
        setattr(parent, name, layer)
        return layer
