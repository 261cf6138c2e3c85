"""A head whose row for the request is trained while all other weights are frozen.

Adapters leave the embedding alone, but a request that was just added has an untrained
row. Training the whole matrix for its sake would cost a gradient and two moments of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models.logprobs import pair_logprobs


class AskHead(nn.Linear):
    """A linear head, its weight shared with the one it replaces, with a row of its own to ask.

    `weight` stays what it was, frozen: its row for the request is only where `row` started.
    """

    def __init__(self, head: nn.Linear, ask: int) -> None:
        nn.Module.__init__(self)  # Linear's own would make a second weight
        self.in_features, self.out_features = head.in_features, head.out_features
        self.weight, self.bias = head.weight, head.bias
        self.ask = ask
        self.row = nn.Parameter(head.weight[ask].detach().float().clone())

    def forward(self, input: Tensor) -> Tensor:
        return self.led(F.linear(input, self.weight, self.bias), input)

    def led(self, logits: Tensor, hidden: Tensor) -> Tensor:
        """Logits (..., vocabulary) under `weight`, in place, as they are under the trained row."""
        logits[..., self.ask] += self.lead(hidden).to(logits.dtype)
        return logits

    def lead(self, hidden: Tensor) -> Tensor:
        """What the trained row adds to the logit of asking, in float32: (...,)."""
        moved = self.row - self.weight[self.ask].detach().float()
        return (hidden.float() * moved).sum(dim=-1)  # no product, which autocast would round

    def moved(self, pairs: Tensor, hidden: Tensor, taken: Tensor, temperature: float) -> Tensor:
        """Log-probabilities (tokens, 2) of tokens taken and of asking, under the trained row.

        pairs: those under `weight`; hidden: (tokens, hidden size); taken: (tokens,). One logit
        that rises by s turns the sum of exponentials Z into Z (1 - p + p e^s), p being its
        probability before.
        """
        rise = self.lead(hidden) / (temperature or 1.0)
        total = torch.log1p(pairs[:, 1].exp() * torch.expm1(rise))
        rises = torch.stack((rise * (taken == self.ask), rise), dim=1)
        return pairs + rises - total[:, None]


def head_pairs(
    head: nn.Linear,
    hidden: Tensor,
    taken: Tensor,
    ask: int,
    temperature: float = 1.0,
    ask_shift: float = 0.0,
) -> Tensor:
    """`pair_logprobs` under a head, a trained row of its own for the request included."""
    pairs = pair_logprobs(hidden, head.weight, taken, ask, temperature, ask_shift)
    return head.moved(pairs, hidden, taken, temperature) if isinstance(head, AskHead) else pairs
