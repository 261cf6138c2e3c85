"""The loop: get experience, learn, price, log; examine at every switch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import torch

from understudy.errors import ConfigError, DivergedError
from understudy.objectives import sequence_ask_probability
from understudy.objectives.terms import CLIPPED
from understudy.offload.config import Config
from understudy.offload.examination import (
    Occasion,
    ServedModel,
    examine_stream,
    matrix_row,
    rows_of,
)
from understudy.offload.experience import Experience, Source, remedy, verified_examples
from understudy.offload.helpers import Helpers
from understudy.offload.learn import Objective, Tally, descend, learn
from understudy.offload.measure import step_metrics
from understudy.offload.phases import budget_of, ends, remaining
from understudy.offload.records import MatrixRow, examination_name
from understudy.offload.state import State
from understudy.offload.steps import StepMetrics, StepTimings
from understudy.offload.warm_start import warm_start
from understudy.progress import task
from understudy.routing.rows import ExaminedQuestion
from understudy.tasks.stream import Phase

LONGEST_UNSAVED = 300.0  # seconds of training that a run which is killed may lose, and a step


class Watcher(Protocol):
    """Receives every step and examination: the run directory, a progress display, a test."""

    def on_step(self, metrics: StepMetrics, timings: StepTimings) -> None: ...

    def on_evaluation(self, row: MatrixRow, questions: Sequence[ExaminedQuestion]) -> None: ...


def train(
    state: State,
    helpers: Helpers,
    stream: list[Phase],
    config: Config,
    watcher: Watcher,
    save: Callable[[State], None],
) -> State:
    """Take a state through the rest of its stream."""
    method, retention, saved = state.method, state.retention, time.monotonic()
    if not state.matrix:
        evaluate(state, helpers, stream, config, watcher, after=0)
        save(state)
    for number, phase in remaining(stream, state.step):
        started = time.monotonic()
        begins = state.step == ends(stream)[number - 1] - phase.steps
        if begins:
            state.warm_start = warm_start(state, helpers, (number, phase), config)
        budget = budget_of(phase, config) - state.warm_start.share
        problems = helpers.batch(phase, state.step, config)
        source = source_of(state, helpers, config, budget)
        experience = method.experience(source, problems, state.dual)
        objective = objective_of(state, experience, number)
        learnt = update(state, helpers, objective, config)
        learnt |= state.warm_start.metrics() if begins else {}
        metrics = step_metrics(state, helpers.cloud.spend, (number, phase), objective, learnt)
        if retention.wants_examples:
            longest = config.max_completion_length
            verified = verified_examples(experience, state.policy, helpers, longest)
            retention.after_step(number, state.step, verified)
        state.dual = method.next_dual(state.dual, experience.scores, budget)
        state.step += 1
        watcher.on_step(metrics, StepTimings(state.step, time.monotonic() - started))
        switches = state.step in ends(stream)
        if _is_late(helpers, saved) or switches or state.step % config.checkpoint_every == 0:
            check_finite(state, config)
            if switches:
                retention.at_switch(number)
                evaluate(state, helpers, stream, config, watcher, after=number)
            save(state)
            saved = time.monotonic()
    return state


def _is_late(helpers: Helpers, saved: float) -> bool:
    """Whether the last checkpoint is long ago: by the first process's clock in all of them."""
    return helpers.team.from_leader(lambda: time.monotonic() - saved >= LONGEST_UNSAVED)


def source_of(state: State, helpers: Helpers, config: Config, budget: float) -> Source:
    """What gives the method the experience of the next step."""
    return Source(state.policy, helpers, config, state.step, budget, state.dual.shift)


def objective_of(state: State, experience: Experience, phase: int) -> Objective:
    """What the next step optimises, by the method's terms and the retention's."""
    advantage = state.method.advantage(experience.scores, state.dual)
    wanted = experience.scores.reward.shape
    if advantage.shape != wanted:
        raise ConfigError(
            f"{type(state.method).__name__}.advantage gave the shape {tuple(advantage.shape)}; "
            f"it must be that of scores.reward, {tuple(wanted)}: (prompts, group)"
        )
    if experience.weight is not None:
        advantage = advantage * experience.weight
    terms = state.method.terms(experience, state.dual)
    return Objective(experience, advantage, [*terms, *state.retention.terms(phase, state.step)])


@task("learning")
def update(
    state: State, helpers: Helpers, objective: Objective, config: Config
) -> dict[str, float]:
    """The optimiser steps of one batch; returns the metrics of the last."""
    metrics = {"loss": 0.0, "grad_norm": 0.0}
    parameters, team = state.trained(), helpers.team
    for iteration in range(config.num_iterations):
        if iteration and objective.ask_terms:
            now = _asking_now(state, helpers, objective.experience)
            objective = replace(objective, experience=now)
        state.optimiser.zero_grad()
        tally = learn(state.policy, team, objective, config)
        taken = descend(state.optimiser, parameters, team, tally, config, state.step)
        if taken is None:
            return metrics
        metrics = _learning_metrics(*taken)
    return metrics


def _learning_metrics(tallies: list[Tally], norm: float) -> dict[str, float]:
    tokens = max(1, sum(tally.tokens for tally in tallies))
    metrics = {"loss": sum(tally.loss for tally in tallies), "grad_norm": norm}
    for name in tallies[0].sums:
        metrics[name] = sum(tally.sums[name] for tally in tallies) / tokens
    if CLIPPED[0] in metrics:
        metrics["clip_ratio/region_mean"] = metrics[CLIPPED[0]] + metrics[CLIPPED[1]]
    return metrics


def _asking_now(state: State, helpers: Helpers, experience: Experience) -> Experience:
    """With how likely each response is to ask under the weights of this moment."""
    batch, scores = experience.batch, experience.scores
    rows = torch.arange(len(batch.drawn.mask), device=batch.drawn.mask.device)
    with torch.no_grad():
        _, asking = state.policy.score(batch.prompts, batch.drawn, rows, batch.drawing)
    own = sequence_ask_probability(asking, batch.drawn.mask).cpu()
    now = torch.cat(helpers.team.all_gather(own)).view_as(scores.reward).to(scores.reward.device)
    batch = replace(batch, drawn=replace(batch.drawn, ask_logprobs=asking))
    return replace(experience, batch=batch, scores=replace(scores, ask_probability=now))


def check_finite(state: State, config: Config) -> None:
    """A checkpoint is a good state: weights that overflowed are not saved over it."""
    if not all(weight.isfinite().all() for weight in state.trained()):
        raise DivergedError(f"step {state.step}: weights overflowed; {remedy(config)}")


def evaluate(
    state: State,
    helpers: Helpers,
    stream: list[Phase],
    config: Config,
    watcher: Watcher,
    after: int,
) -> None:
    """A row of the matrix: every task of the stream, as the run would serve it now."""
    own_threshold = -state.dual.shift * config.temperature  # margins are of raw logits
    answering = state.retention.answering
    served = ServedModel(state.policy, helpers.router, own_threshold, answering)
    occasion = Occasion(examination_name(after), str(config.seed))
    found = examine_stream(served, helpers.examination(config), stream, config, occasion)
    row = matrix_row(found, after, state.step)
    state.matrix.append(row)
    watcher.on_evaluation(row, rows_of(found))
