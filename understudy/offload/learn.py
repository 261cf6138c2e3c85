"""The loss of a batch, computed in parts: only rows that carry a signal, a portion at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, Prompts
from understudy.objectives import (
    clip_fraction,
    clipped_policy_loss,
    k3_divergence,
    mean_of_tokens,
    reduce_loss,
    reinforce_loss,
    sequence_ask_probability,
)
from understudy.offload.config import Config
from understudy.offload.method import Method
from understudy.offload.scores import Scores
from understudy.offload.state import State
from understudy.types import Problem, Reply


@dataclass(frozen=True, slots=True)
class Batch:
    """What was drawn for a batch of problems, how, and what the cloud said to whom.

    problems and replies are the whole team's, prompts and drawn those of this process: `own` says
    where its problems stand.
    """

    problems: list[Problem]
    own: range
    prompts: Prompts
    drawn: Completions
    drawing: Drawing
    replies: dict[int, Reply]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step learns from: the whole team's scores and what they call for."""

    batch: Batch
    scores: Scores
    advantage: Tensor  # (prompts, group)
    budget: float

    def own(self, table: Tensor) -> Tensor:
        """A row per response of this process, from a (prompts, group) table of the team."""
        place = self.batch.own
        return table[place.start : place.stop].reshape(-1)


@dataclass
class Tally:
    """What the portions of one pass over a batch add up to."""

    loss: float = 0.0
    divergence: float = 0.0  # summed over tokens
    clipped: tuple[float, float] = (0.0, 0.0)  # tokens below and above the clip
    tokens: int = 0
    any: bool = False  # whether anything had a gradient


def learn(
    state: State, method: Method, lesson: Lesson, config: Config, reference: Policy | None
) -> Tally:
    """Leave the gradient of the whole loss of this process's share; one pass over it."""
    tally, pull = Tally(), None
    if method.regularises:
        value, pull = regulariser_pull(state, method, lesson)
        tally.loss += value if state.team.leads else 0.0
    for rows in portions(lesson, config, everyone=pull is not None or reference is not None):
        _back(policy_loss(state.policy, lesson, rows, pull, config, reference, tally), tally)
    if config.distill > 0:
        for loss in distillation_losses(state.policy, lesson, config):
            _back(config.distill * loss, tally)
            tally.loss += config.distill * float(loss.detach())
    return tally


def _back(loss: Tensor, tally: Tally) -> None:
    loss.backward()
    tally.any = True


def portions(lesson: Lesson, config: Config, everyone: bool) -> Iterator[Tensor]:
    """The rows of this process that are computed, in `gradient_accumulation_steps` portions.

    A row of zero advantage adds nothing to the policy gradient and is left out; a regulariser or
    a KL needs every row.
    """
    flat = lesson.own(lesson.advantage)
    rows = torch.arange(len(flat), device=flat.device) if everyone else flat.nonzero().squeeze(1)
    for part in rows.chunk(config.gradient_accumulation_steps):
        if len(part):
            yield part


def policy_loss(
    policy: Policy,
    lesson: Lesson,
    rows: Tensor,
    pull: Tensor | None,
    config: Config,
    reference: Policy | None,
    tally: Tally,
) -> Tensor:
    """What `rows` add to the policy-gradient loss, to the KL and to the regulariser's pull."""
    batch, drawn = lesson.batch, lesson.batch.drawn
    mask, advantage = drawn.mask[rows], lesson.own(lesson.advantage)[rows]
    logprobs, ask_logprobs = policy.score(batch.prompts, drawn, rows, batch.drawing)
    if config.epsilon is None:
        losses = reinforce_loss(logprobs, advantage)
    else:
        clip, old = (config.epsilon, config.epsilon_high), drawn.logprobs[rows, : mask.shape[1]]
        losses = clipped_policy_loss(logprobs, old, advantage, *clip)
        low, high = clip_fraction(logprobs, old, advantage, mask, *clip)
        count = int(mask.sum())
        tally.clipped = tally.clipped[0] + low * count, tally.clipped[1] + high * count
    if reference is not None:
        with torch.no_grad():
            anchor, _ = reference.score(batch.prompts, drawn, rows, batch.drawing)
        divergence = k3_divergence(logprobs, anchor)
        losses = losses + config.beta * divergence
        tally.divergence += float(divergence.detach()[mask].sum())
    tally.tokens += int(mask.sum())
    loss = reduce_loss(
        losses,
        mask,
        config.loss_type,
        group=config.num_generations,
        max_completion_length=config.max_completion_length,
        samples=lesson.advantage.numel(),
        tokens=int(lesson.scores.lengths.sum()),
    )
    tally.loss += float(loss.detach())
    if pull is not None:
        loss = loss + (pull[rows] * sequence_ask_probability(ask_logprobs, mask)).sum()
    return loss


def regulariser_pull(state: State, method: Method, lesson: Lesson) -> tuple[float, Tensor]:
    """The method's regulariser, and its slope at each of this process's responses.

    It may look at all responses of the team at once. To first order it is the slopes' sum, which
    can be taken portion by portion and process by process with the same gradient. It pulls the
    token's probability, which says nothing of a response that asked in words: those it lets be.
    """
    probability = lesson.scores.ask_probability.detach().clone().requires_grad_()
    value = method.regulariser(probability, lesson.scores, state.dual, lesson.budget)
    (slope,) = torch.autograd.grad(value, probability)
    own, spoken = lesson.own(slope), lesson.batch.drawn.in_words
    return float(value.detach()), own if spoken is None else own.masked_fill(spoken, 0.0)


def distillation_losses(policy: Policy, lesson: Lesson, config: Config) -> Iterator[Tensor]:
    """Mean cross-entropy of the cloud's replies that were verified, as if drawn here; in portions.

    Asking is left out of the distribution: learning an answer must not unlearn to ask. A reply
    that is too long to be drawn is not imitated.
    """
    batch, right = lesson.batch, lesson.scores.cloud_right.tolist()
    plain = {i: reply.text for i, reply in sorted(batch.replies.items()) if right[i] and reply.text}
    if not plain:
        return
    written = policy.written(list(plain.values()))
    lengths = written.mask.sum(dim=1)
    fits = (lengths <= config.max_completion_length).tolist()
    total = int(lengths[torch.tensor(fits)].sum())
    mine = [k for k, i in enumerate(plain) if fits[k] and i in batch.own]
    never = replace(batch.drawing, ask_shift=float("-inf"))
    for part in torch.tensor(mine, dtype=torch.long).chunk(config.gradient_accumulation_steps):
        if not len(part):
            continue
        places = [list(plain)[k] - batch.own.start for k in part.tolist()]
        prompts = Prompts(batch.prompts.ids[places], batch.prompts.mask[places])
        taken = replace(written, tokens=written.tokens[part], mask=written.mask[part])
        rows = torch.arange(len(part), device=taken.tokens.device)
        logprobs, _ = policy.score(prompts, taken, rows, never)
        yield mean_of_tokens(-logprobs, taken.mask, total)
