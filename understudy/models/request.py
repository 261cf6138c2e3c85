"""A row for the request in a model that has none yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from understudy.models.decoder import Decoder
from understudy.models.tokens import Tokens


@torch.no_grad()
def give_request(model: nn.Module, tokens: Tokens) -> None:
    """Let a request that was just added to the tokenizer be drawn by the model.

    It takes a row that the embedding has to spare, or one more. The row starts as the mean of
    those of the words that ask: its logit is then the mean of theirs, so asking is about as
    likely as one of these words out of place. It is not impossible, as it could be with a row that
    nobody trained, nor certain, and what makes the words likelier makes asking likelier.
    """
    embedding, head = ends(model)
    if tokens.ask >= len(embedding.weight):
        _grow(model, tokens.ask + 1)
        embedding, head = ends(model)
    words = torch.tensor(tokens.encode_plain(tokens.request or "?"))
    for weight in {id(w): w for w in (embedding.weight, head.weight, head.bias)}.values():
        if weight is not None:
            weight[tokens.ask] = weight[words.to(weight.device)].float().mean(dim=0)


def ends(model: nn.Module) -> tuple[nn.Embedding, nn.Linear]:
    """The embedding and the head of either kind of model."""
    known: Any = model
    if isinstance(model, Decoder):
        return model.embedding, model.head
    return known.get_input_embeddings(), known.get_output_embeddings()


def _grow(model: nn.Module, count: int) -> None:
    if not isinstance(model, Decoder):
        known: Any = model
        known.resize_token_embeddings(count, mean_resizing=False)
        return
    tied = model.head.weight is model.embedding.weight
    model.embedding.weight = _longer(model.embedding.weight, count)
    model.embedding.num_embeddings = count
    model.head.weight = model.embedding.weight if tied else _longer(model.head.weight, count)
    model.head.out_features = count
    model.shape = replace(model.shape, vocab_size=count)


def _longer(weight: Tensor, count: int) -> nn.Parameter:
    rows = weight.new_zeros(count - len(weight), weight.shape[1])
    return nn.Parameter(torch.cat((weight, rows)))
