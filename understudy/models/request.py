"""A row for the request in a model that has none yet."""

from __future__ import annotations

import torch

from understudy.models.local_model import LocalModel
from understudy.models.tokens import Tokens


@torch.no_grad()
def give_request(model: LocalModel, tokens: Tokens) -> None:
    """Let a request that was just added to the tokenizer be drawn by the model.

    It takes a row that the embedding has to spare, or one more. The row starts as the mean of
    those of the words that ask: its logit is then the mean of theirs, so asking is about as
    likely as one of these words out of place. An untrained row could make it impossible, or
    certain. What makes the words likelier makes asking likelier.
    """
    if tokens.ask >= len(model.embedding.weight):
        model.resize(tokens.ask + 1)
    embedding, head = model.embedding, model.head
    words = torch.tensor(tokens.encode_plain(tokens.request or "?"))
    for weight in {id(w): w for w in (embedding.weight, head.weight, head.bias)}.values():
        if weight is not None:
            weight[tokens.ask] = weight[words.to(weight.device)].float().mean(dim=0)
