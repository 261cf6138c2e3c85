"""The row of the head that asks, trained by what says when to ask; states are left as they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from understudy.models.ask_head import AskHead
from understudy.models.policy import Policy
from understudy.offload.experience import Batch


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A trained tensor that holds the row, and where: None where it is the row and nothing else."""

    weight: Tensor
    place: int | None

    def add(self, gradient: Tensor) -> None:
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight)
        held = self.weight.grad if self.place is None else self.weight.grad[self.place]
        held += gradient.to(held.dtype)


def request_row(policy: Policy) -> RequestRow | None:
    """None where it is not trained, or where logits are more than the head's product."""
    head = policy.model.head
    if not getattr(policy.model, "plain_head", True):
        return None
    if isinstance(head, AskHead):
        return RequestRow(head.row, None) if head.row.requires_grad else None
    plain = isinstance(head, nn.Linear) and head.weight.requires_grad
    return RequestRow(head.weight, policy.tokens.ask) if plain else None


@torch.no_grad()
def pull_row(policy: Policy, row: RequestRow, batch: Batch, rows: Tensor, slope: Tensor) -> None:
    """Add to the row's gradient that of sum_i slope_i * P(response i asks); slope: (rows,).

    With p_t the chance of asking at position t, 1 - prod_t (1 - p_t) moves with the logit of
    asking at t by p_t * prod_s (1 - p_s), and that logit with the row by the state at t over the
    temperature.
    """
    mask = batch.drawn.mask[rows]
    asking = batch.drawn.ask_logprobs[rows, : mask.shape[1]].double()
    chance = asking.clamp(max=-1e-10).exp().masked_fill(~mask, 0.0)
    never = torch.log1p(-chance).sum(dim=1).exp()
    states = policy.states(batch.prompts, batch.drawn, rows).double()
    moves = (slope.double() * never)[:, None] * chance / batch.drawing.temperature
    row.add(torch.einsum("rt,rtw->w", moves, states[:, : mask.shape[1]]))
