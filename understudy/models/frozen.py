"""Frozen weights, cast once for all the passes of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from understudy.models.decoder import Decoder
from understudy.models.fused import trained
from understudy.models.local_model import LocalModel


@contextmanager
def frozen_cast(model: LocalModel, dtype: torch.dtype) -> Iterator[None]:
    """While this is open, frozen weights of linear layers are in the type of products.

    Autocast would give the same numbers, but would cast each of them anew in every pass, and
    every pass would keep its own copy until it goes back. Adapted layers of the built-in decoder
    that read the same are one product. The head and the embedding stay.
    """
    if isinstance(model.network, Decoder):
        with trained(model.network, dtype) as joined, _cast(model, dtype, joined):
            yield
    else:
        with _cast(model, dtype, set()):
            yield


@contextmanager
def _cast(model: LocalModel, dtype: torch.dtype, done: set[nn.Module]) -> Iterator[None]:
    """All layers but those that are done."""
    ends = (model.head.weight, model.embedding.weight)
    cast: list[tuple[nn.Linear, nn.Parameter]] = []
    try:
        for layer in model.network.modules():
            if not isinstance(layer, nn.Linear) or layer in done:
                continue
            weight = layer.get_parameter("weight")
            if weight.requires_grad or weight.dtype == dtype or any(weight is end for end in ends):
                continue
            cast.append((layer, weight))
            layer.weight = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        yield
    finally:
        for layer, weight in cast:
            layer.weight = weight
