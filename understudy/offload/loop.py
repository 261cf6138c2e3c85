"""The loop: draw, ask, score, learn, price, log; examine at every switch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from understudy.clouds import MeteredCloud
from understudy.errors import DivergedError
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing
from understudy.objectives import sequence_ask_probability
from understudy.offload.config import Config
from understudy.offload.examination import (
    Occasion,
    ServedModel,
    examine_stream,
    matrix_row,
    rows_of,
)
from understudy.offload.learn import Batch, Lesson, Tally, learn
from understudy.offload.measure import step_metrics
from understudy.offload.method import Method
from understudy.offload.phases import budget_of, ends, remaining
from understudy.offload.records import MatrixRow, examination_name
from understudy.offload.scores import Responses, Scores, joined, moved, score_responses
from understudy.offload.start import load_policy
from understudy.offload.state import State
from understudy.progress import task
from understudy.routing.router import build_router
from understudy.routing.rows import ExaminedQuestion
from understudy.tasks.stream import Phase
from understudy.types import Problem, Reply


class Watcher(Protocol):
    """Who is told how the run goes: the run directory, a progress display, a test."""

    def on_step(self, metrics: dict[str, Any], timings: dict[str, Any]) -> None: ...

    def on_evaluation(self, row: MatrixRow, questions: Sequence[ExaminedQuestion]) -> None: ...


def train(
    state: State,
    method: Method,
    stream: list[Phase],
    config: Config,
    watcher: Watcher,
    save: Callable[[State], None],
) -> State:
    """Take a state through the rest of its stream."""
    reference = reference_policy(config, state.policy)
    if not state.matrix:
        evaluate(state, stream, config, watcher, after=0)
        save(state)
    for number, phase in remaining(stream, state.step):
        started = time.monotonic()
        budget = budget_of(phase, config)
        size = config.batch_size * state.team.size
        problems = state.tasks.batch(phase, size, "train", f"{config.seed} {state.step}")
        batch, scores = rollout(state, problems, budget, config)
        lesson = Lesson(batch, scores, method.advantage(scores, state.dual), budget)
        learnt = update(state, method, lesson, config, reference)
        metrics = step_metrics(state, number, phase, lesson) | learnt
        state.dual = method.next_dual(state.dual, scores, budget)
        state.step += 1
        watcher.on_step(metrics, {"step": state.step, "step_time": time.monotonic() - started})
        switches = state.step in ends(stream)
        if switches or state.step % config.checkpoint_every == 0:
            check_finite(state, config)
            if switches:
                evaluate(state, stream, config, watcher, after=number)
            save(state)
    return state


def rollout(
    state: State, problems: list[Problem], budget: float, config: Config
) -> tuple[Batch, Scores]:
    """Draw a group per problem, let those that ask cross the link, score all of them."""
    policy, team, group = state.policy, state.team, config.num_generations
    shift = state.dual.shift if budget > 0 else float("-inf")  # no budget: nobody asks
    drawing = Drawing(config.max_completion_length, config.temperature, shift)
    own = team.share(len(problems))
    mine = problems[own.start : own.stop]
    prompts = policy.prompts([problem.question for problem in mine])
    luck = drawing.uniforms(len(problems) * group, config.seed * 1_000_003 + state.step)
    luck = luck[own.start * group : own.stop * group].to(policy.device)
    with task("drawing responses"):
        drawn = policy.sample(prompts, group, drawing, luck)
    if drawn.logprobs.isnan().any():
        raise DivergedError(f"step {state.step + 1}: the model gives NaN; {_mend(config)}")
    asked = drawn.asked.view(-1, group)
    everyone = torch.cat(team.all_gather(asked.cpu()))
    replies = team.from_leader(lambda: ask(state.cloud, problems, everyone))
    near = {i - own.start: reply for i, reply in replies.items() if i in own}
    with task("checking answers"):
        judged = score_responses(
            state.valuation, Responses(mine, policy.texts(drawn), asked.cpu(), near)
        )
    scores = Scores(**judged, **_drawn_figures(drawn, group))
    scores = moved(joined(team.all_gather(scores)), policy.device)
    return Batch(problems, own, prompts, drawn, drawing, replies), scores


def _drawn_figures(drawn: Completions, group: int) -> dict[str, Any]:
    """The fields of `Scores` that say how responses were drawn."""
    probability = sequence_ask_probability(drawn.ask_logprobs, drawn.mask)
    figures = {
        "asked": drawn.asked,
        "ask_probability": probability,
        "lengths": drawn.mask.sum(dim=1),
        "finished": drawn.finished,
        "entropy": drawn.entropy.masked_fill(~drawn.mask, 0.0).sum(dim=1),
    }
    by_prompt = {name: figure.view(-1, group).cpu() for name, figure in figures.items()}
    return by_prompt | {"token_ask_probability": drawn.ask_chances.cpu()}


@task("asking the cloud")
def ask(cloud: MeteredCloud, problems: list[Problem], asked: Tensor) -> dict[int, Reply]:
    """One call for every prompt that any response of its group asks about."""
    wanted = [i for i, asks in enumerate(asked.any(dim=1).tolist()) if asks]
    replies = cloud.replies([problems[i].question for i in wanted])
    return dict(zip(wanted, replies, strict=True))


@task("learning")
def update(
    state: State, method: Method, lesson: Lesson, config: Config, reference: Policy | None
) -> dict[str, Any]:
    """The optimiser steps of one batch; returns the metrics of the last."""
    metrics: dict[str, Any] = {"loss": 0.0, "grad_norm": 0.0}
    parameters = state.policy.trainable()
    for iteration in range(config.num_iterations):
        if iteration and method.regularises:
            lesson = replace(lesson, scores=_asking_now(state, lesson))
        state.optimiser.zero_grad()
        tallies = state.team.all_gather(learn(state, method, lesson, config, reference))
        if not any(tally.any for tally in tallies):  # no response carries a signal
            return metrics
        state.team.sum_gradients(parameters)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
        metrics = _learning_metrics(tallies, norm, config)
        if not all(math.isfinite(metrics[key]) for key in ("loss", "grad_norm")):
            raise DivergedError(
                f"step {state.step + 1}: loss={metrics['loss']}, grad_norm={norm}; {_mend(config)}"
            )
        state.optimiser.step()
    return metrics


def _learning_metrics(tallies: list[Tally], norm: float, config: Config) -> dict[str, Any]:
    tokens = max(1, sum(tally.tokens for tally in tallies))
    metrics = {"loss": sum(tally.loss for tally in tallies), "grad_norm": norm}
    if config.beta > 0:
        metrics["kl"] = sum(tally.divergence for tally in tallies) / tokens
    if config.epsilon is not None:
        low, high = (sum(tally.clipped[side] for tally in tallies) / tokens for side in (0, 1))
        metrics |= {"clip_ratio/low_mean": low, "clip_ratio/high_mean": high}
        metrics["clip_ratio/region_mean"] = low + high
    return metrics


def _asking_now(state: State, lesson: Lesson) -> Scores:
    """The scores with how likely each response is to ask under the weights of this moment."""
    batch = lesson.batch
    rows = torch.arange(len(batch.drawn.mask), device=batch.drawn.mask.device)
    with torch.no_grad():
        _, asking = state.policy.score(batch.prompts, batch.drawn, rows, batch.drawing)
    own = sequence_ask_probability(asking, batch.drawn.mask).cpu()
    now = torch.cat(state.team.all_gather(own)).view_as(lesson.scores.reward)
    return replace(lesson.scores, ask_probability=now.to(lesson.scores.reward.device))


def check_finite(state: State, config: Config) -> None:
    """A checkpoint is a good state: weights that overflowed are not saved over it."""
    if not all(weight.isfinite().all() for weight in state.policy.trainable()):
        raise DivergedError(f"step {state.step}: weights overflowed; {_mend(config)}")


def evaluate(
    state: State,
    stream: list[Phase],
    config: Config,
    watcher: Watcher,
    after: int,
) -> None:
    """A row of the matrix: every task of the stream, as the run would serve it now."""
    own_threshold = -state.dual.shift * config.temperature  # margins are of raw logits
    served = ServedModel(state.policy, build_router(config.router), own_threshold)
    occasion = Occasion(examination_name(after), str(config.seed))
    found = examine_stream(served, state.examination(config), stream, config, occasion)
    row = matrix_row(found, served, stream, config, after, state.step)
    state.matrix.append(row)
    watcher.on_evaluation(row, rows_of(found))


def _mend(config: Config) -> str:
    return (
        "the last checkpoint is kept; start a new run with less than "
        f"learning_rate={config.learning_rate}"
    )


def reference_policy(config: Config, policy: Policy) -> Policy | None:
    """The model before training, kept only where the loss is held to it."""
    if config.beta == 0:
        return None
    return load_policy(config, policy.base if policy.lora else None, adapted=False)
