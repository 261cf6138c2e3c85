"""A causal language model of transformers and how it is run, with a cache or without."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch
from torch import Tensor, nn

from understudy.errors import CheckpointError


class TransformersNetwork:
    """A model whose logits are its head's product with the final states, or all its own making."""

    def __init__(self, network: Any) -> None:
        self.network = network.eval()
        self.plain_head = _has_plain_head(network)
        accepted = inspect.signature(network.base_model.forward).parameters
        self.takes_positions = "position_ids" in accepted
        saves = "logits_to_keep" in inspect.signature(network.forward).parameters
        self.last_alone = {"logits_to_keep": 1} if saves else {}

    @property
    def embedding(self) -> nn.Embedding:
        found: nn.Embedding = self.network.get_input_embeddings()
        return found

    @property
    def head(self) -> nn.Linear:
        found: nn.Linear = self.network.get_output_embeddings()
        return found

    @property
    def vocabulary(self) -> int:
        return self.head.weight.shape[0]

    @property
    def longest(self) -> int:
        """Without end where the model's configuration names none."""
        named = getattr(self.network.config.get_text_config(), "max_position_embeddings", None)
        return int(named or sys.maxsize)

    @property
    def blocks(self) -> int:
        return int(self.network.config.get_text_config().num_hidden_layers)

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    def run(self, ids: Tensor, mask: Tensor, **given: Any) -> Tensor:
        """Final states (rows, positions, hidden size); where the head is not plain, logits (rows,
        1, vocabulary) of the last position.

        mask: (rows, positions seen); ids: the tokens at the last of them, or embeddings.
        """
        if self.takes_positions:
            positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
            given["position_ids"] = positions[:, -ids.shape[1] :]
        given["attention_mask"] = mask.long()
        given["inputs_embeds" if ids.is_floating_point() else "input_ids"] = ids
        found: Tensor
        if self.plain_head:
            found = self.network.base_model(**given).last_hidden_state
        else:
            found = self.network(**given, **self.last_alone).logits[:, -1:]
        return found

    def logits(self, states: Tensor) -> Tensor:
        """Logits of what `run` gives."""
        return self.head(states) if self.plain_head else states


@torch.no_grad()
def _has_plain_head(model: Any) -> bool:
    """Whether the logits are the head's product with the final states: no soft cap, no scale."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise CheckpointError(f"{type(model).__name__} has no linear head; another model is needed")
    if head.bias is not None:
        return False
    ids = torch.arange(1, 6, device=head.weight.device)[None] % head.weight.shape[0]
    logits = model(ids, use_cache=False).logits
    hidden = model.base_model(ids, use_cache=False).last_hidden_state
    if hidden.shape[-1] != head.weight.shape[1]:
        return False
    difference = (head(hidden).float() - logits.float()).abs().max()
    return bool(difference <= 1e-4 * logits.float().abs().max().clamp(min=1.0))
