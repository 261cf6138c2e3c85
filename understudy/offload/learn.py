"""The loss of a batch, computed in parts: only rows that carry a signal, a portion at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.optim import Optimizer

from understudy.errors import DivergedError
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing
from understudy.objectives import mean_of_tokens, reduce_loss, sequence_ask_probability
from understudy.objectives.terms import (
    AnswerTerm,
    AskTerm,
    Portion,
    Term,
    TokenTerm,
    WeightTerm,
)
from understudy.offload.config import Config
from understudy.offload.experience import Experience, remedy
from understudy.offload.learner import encoded, holding
from understudy.offload.portions import portions_of
from understudy.offload.request_row import pull_row, request_row
from understudy.offload.team import Team
from understudy.types import Example

_HOLD = 0.1  # weight of asking's squared movement beside the cross-entropy
_SURE = 1 - 1e-6  # the most that asking may take of the probability
_AT_ONCE = 8  # examples that are read without gradient


@dataclass(frozen=True, slots=True)
class Tally:
    """What the parts of one pass over a batch add up to."""

    loss: float = 0.0
    tokens: int = 0  # of the responses that were read
    sums: Mapping[str, float] = field(default_factory=dict)  # over these tokens
    any: bool = False  # whether anything had a gradient

    def __add__(self, other: Tally) -> Tally:
        names = [*self.sums, *(name for name in other.sums if name not in self.sums)]
        sums = {name: self.sums.get(name, 0.0) + other.sums.get(name, 0.0) for name in names}
        loss, tokens = self.loss + other.loss, self.tokens + other.tokens
        return Tally(loss, tokens, sums, self.any or other.any)


@dataclass(frozen=True, slots=True)
class Objective:
    """What one pass over a batch optimises: responses, their advantages, and the loss's terms."""

    experience: Experience
    advantage: Tensor  # (prompts, group)
    terms: Sequence[Term]

    @property
    def token_terms(self) -> list[TokenTerm]:
        return [term for term in self.terms if isinstance(term, TokenTerm)]

    @property
    def ask_terms(self) -> list[AskTerm]:
        return [term for term in self.terms if isinstance(term, AskTerm)]


def learn(policy: Policy, team: Team, objective: Objective, config: Config) -> Tally:
    """Leave the gradient of the whole loss of this process's share; one pass over it."""
    with policy.frozen_cast():
        return _learn(policy, team, objective, config)


def _learn(policy: Policy, team: Team, objective: Objective, config: Config) -> Tally:
    names = [name for term in objective.token_terms for name in term.metrics]
    tally, pull = Tally(sums=dict.fromkeys(names, 0.0)), None
    row = request_row(policy)
    of_row = [term for term in objective.ask_terms if row and not term.whole_model]
    of_all = [term for term in objective.ask_terms if term not in of_row]
    if of_all:
        value, pull = ask_pull(objective, of_all)
        tally += Tally(value if team.leads else 0.0)
    if row and of_row:
        value, slopes = ask_pull(objective, of_row)
        tally += Tally(value if team.leads else 0.0, any=True)
        for rows in portions(policy, objective, config, everyone=True):
            pull_row(policy, row, objective.experience.batch, rows, slopes[rows])
    everyone = pull is not None or any(term.every_row for term in objective.token_terms)
    reads = objective.token_terms or of_all
    for rows in portions(policy, objective, config, everyone) if reads else ():
        tally += _learn_portion(policy, objective, rows, pull, config)
    return tally + learn_given(policy, team, objective.terms, config)


def learn_given(policy: Policy, team: Team, terms: Sequence[Term], config: Config) -> Tally:
    """Leave the gradient of the terms that need no response of the model; others are skipped."""
    tally = Tally()
    for term in terms:
        if isinstance(term, AnswerTerm):
            with policy.frozen_cast():
                tally += _learn_answers(policy, team, term, config)
        elif isinstance(term, WeightTerm) and team.leads:  # gradients are summed over the team
            tally += _back(term.loss(policy.tensors()))
    return tally


def descend(
    optimiser: Optimizer,
    parameters: Sequence[Tensor],
    team: Team,
    tally: Tally,
    config: Config,
    step: int,
) -> tuple[list[Tally], float] | None:
    """A step down the gradients that the processes of a team have left; step: those done before.

    The tallies of all, and the gradient's norm; None where none of them has a gradient.
    """
    tallies = team.all_gather(tally)
    if not any(tally.any for tally in tallies):  # no response carries a signal
        return None
    team.sum_gradients(parameters)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
    loss = sum(tally.loss for tally in tallies)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise DivergedError(f"step {step + 1}: loss={loss}, grad_norm={norm}; {remedy(config)}")
    optimiser.step()
    return tallies, norm


def _back(loss: Tensor) -> Tally:
    loss.backward()
    return Tally(float(loss.detach()), any=True)


def portions(
    policy: Policy, objective: Objective, config: Config, everyone: bool
) -> Iterator[Tensor]:
    """The rows of this process that are computed, a portion at a time.

    A row of zero advantage adds nothing to the policy gradient and is left out, unless some term
    needs every row.
    """
    batch = objective.experience.batch
    flat = batch.own_rows(objective.advantage)
    rows = torch.arange(len(flat), device=flat.device) if everyone else flat.nonzero().squeeze(1)
    return portions_of(policy, batch.prompts, batch.drawn, rows, config)


def _learn_portion(
    policy: Policy, objective: Objective, rows: Tensor, pull: Tensor | None, config: Config
) -> Tally:
    """Add the gradient of the token terms on some rows, and of the pull on their asking."""
    portion = read_portion(policy, objective, rows)
    found = [term.loss(portion) for term in objective.token_terms]
    losses = found[0].losses if found else torch.zeros_like(portion.logprobs)
    for one in found[1:]:
        losses = losses + one.losses
    loss = reduce_loss(
        losses,
        portion.mask,
        config.loss_type,
        group=objective.advantage.shape[1],
        max_completion_length=config.max_completion_length,
        samples=objective.advantage.numel(),
        tokens=int(objective.experience.scores.lengths.sum()),
    )
    sums = {name: total for one in found for name, total in one.sums.items()}
    tally = Tally(float(loss.detach()), int(portion.mask.sum()), sums, any=True)
    if pull is not None:
        asking = sequence_ask_probability(portion.ask_logprobs, portion.mask)
        loss = loss + (pull[rows] * asking).sum()
    loss.backward()
    return tally


def read_portion(policy: Policy, objective: Objective, rows: Tensor) -> Portion:
    """Some responses of this process, read with gradient."""
    batch = objective.experience.batch
    drawn, mask = batch.drawn, batch.drawn.mask[rows]
    logprobs, ask_logprobs = policy.score(batch.prompts, drawn, rows, batch.drawing)

    def under(tensors: Mapping[str, Tensor]) -> Tensor:
        with holding(policy, tensors):
            return policy.score(batch.prompts, drawn, rows, batch.drawing)[0]

    return Portion(
        logprobs=logprobs,
        ask_logprobs=ask_logprobs,
        drawn_logprobs=drawn.logprobs[rows, : mask.shape[1]],
        mask=mask,
        advantage=batch.own_rows(objective.advantage)[rows],
        under=under,
        states=lambda: policy.states(batch.prompts, drawn, rows),
    )


def ask_pull(objective: Objective, terms: Sequence[AskTerm]) -> tuple[float, Tensor]:
    """The terms on asking, and their slope at each of this process's responses.

    They may look at all responses of the team at once. To first order they are the slopes' sum,
    which can be taken portion by portion and process by process with the same gradient. They pull
    the token's probability, which says nothing of a response that asked in words: its slope is 0.
    """
    batch = objective.experience.batch
    probability = objective.experience.scores.ask_probability.detach().clone().requires_grad_()
    value = torch.stack([term.loss(probability) for term in terms]).sum()
    (slope,) = torch.autograd.grad(value, probability)
    own, spoken = batch.own_rows(slope), batch.drawn.in_words
    return float(value.detach()), own if spoken is None else own.masked_fill(spoken, 0.0)


def _learn_answers(policy: Policy, team: Team, term: AnswerTerm, config: Config) -> Tally:
    """Add the gradient of the cross-entropy of given answers, this process's share of them."""
    tally = Tally()
    for loss in answer_losses(policy, team, term, config):
        (term.weight * loss).backward()
        tally += Tally(term.weight * float(loss.detach()), any=True)
    return tally


def answer_losses(policy: Policy, team: Team, term: AnswerTerm, config: Config) -> Iterator[Tensor]:
    """Mean cross-entropy of given answers, as if they had been drawn here; in portions.

    Asking is left out of the distribution: learning an answer must not unlearn to ask. Where the
    term says how likely it was, it is also held there. An answer that is too long to be drawn is
    not learnt.
    """
    if not term.examples:
        return
    prompts, written = encoded(policy, term.examples)
    lengths = written.mask.sum(dim=1)
    fits = lengths <= config.max_completion_length
    total = int(lengths[fits].sum())
    mine = [i for i in team.share(len(term.examples)) if fits[i]]
    shift = float("-inf") if term.asking is None else 0.0
    how = Drawing(config.max_completion_length, config.temperature, shift)
    for part in portions_of(policy, prompts, written, torch.tensor(mine, dtype=torch.long), config):
        asked = replace(prompts, ids=prompts.ids[part], mask=prompts.mask[part])
        taken = replace(written, tokens=written.tokens[part], mask=written.mask[part])
        rows = torch.arange(len(part), device=taken.tokens.device)
        logprobs, asking = policy.score(asked, taken, rows, how)
        if term.asking is None:
            yield mean_of_tokens(-logprobs, taken.mask, total)
        else:
            was = pad_sequence([term.asking[i] for i in part.tolist()], batch_first=True)
            losses = _holding_asking(logprobs, asking, was[:, : asking.shape[1]])
            yield mean_of_tokens(losses, taken.mask, total)


def _holding_asking(logprobs: Tensor, asking: Tensor, was: Tensor) -> Tensor:
    """The cross-entropy among the other tokens, and how far asking has moved in logarithms;
    (rows, tokens) each."""
    others = logprobs - torch.log1p(-asking.exp().clamp(max=_SURE))
    moved = asking[:, : was.shape[1]] - was
    held = torch.nn.functional.pad(moved.square(), (0, asking.shape[1] - was.shape[1]))
    return _HOLD * held - others


@torch.no_grad()
def asking_of(policy: Policy, examples: Sequence[Example], config: Config) -> list[Tensor]:
    """For each example, (tokens,) the log-probability of asking in place of its answer's tokens."""
    found: list[Tensor] = []
    how = Drawing(config.max_completion_length, config.temperature)
    for start in range(0, len(examples), _AT_ONCE):
        prompts, written = encoded(policy, examples[start : start + _AT_ONCE])
        rows = torch.arange(len(written.mask), device=written.mask.device)
        _, asking = policy.score(prompts, written, rows, how)
        found += [row[mask] for row, mask in zip(asking, written.mask, strict=True)]
    return found
