"""The loss of a batch: only rows that carry a signal are computed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from understudy.config import Config
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, Prompts
from understudy.models.tokens import ASK, END
from understudy.objectives import (
    clipped_policy_loss,
    k3_divergence,
    mean_of_tokens,
    reduce_loss,
    reinforce_loss,
    sequence_ask_probability,
)
from understudy.offload.method import Method
from understudy.offload.scores import Scores
from understudy.offload.state import State
from understudy.types import Query, Reply


@dataclass(frozen=True, slots=True)
class Batch:
    """What was drawn for a batch of queries, how, and what the cloud said to whom."""

    queries: list[Query]
    prompts: Prompts
    drawn: Completions
    drawing: Drawing
    replies: dict[int, Reply]


def policy_loss(
    state: State,
    method: Method,
    batch: Batch,
    scores: Scores,
    advantage: Tensor,
    budget: float,
    config: Config,
    reference: Policy | None,
) -> Tensor:
    """The policy-gradient loss, with the method's regulariser and the KL where they are on.

    A row of zero advantage adds nothing to the policy gradient and is left out of it; a
    regulariser or a KL needs every row.
    """
    flat, drawn = advantage.reshape(-1), batch.drawn
    everyone = method.regularises or reference is not None
    rows = torch.arange(len(flat), device=flat.device) if everyone else flat.nonzero().squeeze(1)
    if len(rows) == 0:
        return flat.new_zeros(())
    mask = drawn.mask[rows]
    logprobs, ask_logprobs = state.policy.score(batch.prompts, drawn, rows, batch.drawing)
    if config.epsilon is None:
        losses = reinforce_loss(logprobs, flat[rows])
    else:
        old, high = drawn.logprobs[rows, : mask.shape[1]], config.epsilon_high
        losses = clipped_policy_loss(logprobs, old, flat[rows], config.epsilon, high)
    if reference is not None:
        with torch.no_grad():
            anchor, _ = reference.score(batch.prompts, drawn, rows, batch.drawing)
        losses = losses + config.beta * k3_divergence(logprobs, anchor)
    loss = reduce_loss(
        losses,
        mask,
        config.loss_type,
        group=config.num_generations,
        max_completion_length=config.max_completion_length,
        samples=len(flat),
        tokens=int(drawn.mask.sum()),
    )
    if method.regularises:
        probability = sequence_ask_probability(ask_logprobs, mask).view_as(scores.reward)
        loss = loss + method.regulariser(probability, scores, state.dual, budget)
    return loss


def distillation_loss(policy: Policy, batch: Batch, scores: Scores) -> Tensor:
    """Mean cross-entropy of the cloud's replies that were verified, as if drawn here.

    Asking is left out of the distribution: learning an answer must not unlearn to ask.
    """
    right = [
        i
        for i, reply in batch.replies.items()
        # A reply that spells a control token is no text to imitate.
        if scores.cloud_right[i] and ASK not in (reply.text or "") and END not in (reply.text or "")
    ]
    if not right:
        return scores.reward.new_zeros(())
    replies = policy.written([batch.replies[i].text or "" for i in right])
    prompts = Prompts(batch.prompts.ids[right], batch.prompts.mask[right])
    rows = torch.arange(len(right), device=scores.reward.device)
    never = replace(batch.drawing, ask_shift=float("-inf"))
    logprobs, _ = policy.score(prompts, replies, rows, never)
    return mean_of_tokens(-logprobs, replies.mask)
