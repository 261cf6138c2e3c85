"""The loop: draw, ask, score, learn, price, log; examine at every switch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from understudy.clouds import MeteredCloud
from understudy.config import Config
from understudy.errors import DivergedError
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing
from understudy.offload.evaluate import Practice, budget_of, examine_phase, pooled
from understudy.offload.learn import Batch, distillation_loss, policy_loss
from understudy.offload.measure import step_metrics
from understudy.offload.method import Method
from understudy.offload.scores import Scores, score_responses
from understudy.offload.state import State
from understudy.tasks.stream import Phase
from understudy.types import Query, Reply


class Watcher(Protocol):
    """Who is told how the run goes: the run directory, a progress display, a test."""

    def on_step(self, metrics: dict[str, Any], timings: dict[str, Any]) -> None: ...

    def on_evaluation(self, row: dict[str, Any]) -> None: ...


def train(
    state: State,
    method: Method,
    stream: list[Phase],
    config: Config,
    watcher: Watcher,
    save: Callable[[State], None],
) -> State:
    """Take a state through the rest of its stream."""
    reference = reference_policy(config)
    if not state.matrix:
        evaluate(state, method, stream, config, watcher, after=0)
        save(state)
    for number, phase in remaining(stream, state.step):
        started = time.monotonic()
        budget = budget_of(phase, config)
        queries = phase.batch(config.batch_size, "train", f"{config.seed} {state.step}")
        batch, scores = rollout(state, queries, budget, config)
        advantage = method.advantage(scores, state.dual)
        loss, gradient = update(state, method, batch, scores, advantage, budget, config, reference)
        metrics = step_metrics(state, number, phase, budget, batch, scores, advantage)
        metrics |= {"loss": loss, "grad_norm": gradient}
        state.dual = method.next_dual(state.dual, scores, budget)
        state.step += 1
        watcher.on_step(metrics, {"step": state.step, "step_time": time.monotonic() - started})
        switches = state.step in ends(stream)
        if switches or state.step % config.checkpoint_every == 0:
            check_finite(state, config)
            if switches:
                evaluate(state, method, stream, config, watcher, after=number)
            save(state)
    return state


def rollout(
    state: State, queries: list[Query], budget: float, config: Config
) -> tuple[Batch, Scores]:
    """Draw a group per query, let those that ask cross the link, score all of them."""
    policy = state.policy
    shift = state.dual.shift if budget > 0 else float("-inf")  # no budget: nobody asks
    drawing = Drawing(config.max_completion_length, config.temperature, shift)
    prompts = policy.prompts([query.prompt for query in queries])
    generator = torch.Generator(policy.device).manual_seed(config.seed * 1_000_003 + state.step)
    drawn = policy.sample(prompts, config.num_generations, drawing, generator)
    if drawn.logprobs.isnan().any():
        raise DivergedError(f"step {state.step + 1}: the model gives NaN; {_mend(config)}")
    asked = drawn.asked.view(len(queries), -1)
    replies = ask(state.cloud, queries, asked)
    probability = drawn.ask_logprobs[drawn.mask].exp()
    texts = policy.texts(drawn)
    scores = score_responses(queries, texts, asked, replies, probability, config.reward)
    return Batch(queries, prompts, drawn, drawing, replies), scores


def ask(cloud: MeteredCloud, queries: list[Query], asked: Tensor) -> dict[int, Reply]:
    """One call for every prompt that any response of its group asks about."""
    wanted = [i for i, asks in enumerate(asked.any(dim=1).tolist()) if asks]
    replies = asyncio.run(cloud.answer_all([queries[i] for i in wanted]))
    return dict(zip(wanted, replies, strict=True))


def update(
    state: State,
    method: Method,
    batch: Batch,
    scores: Scores,
    advantage: Tensor,
    budget: float,
    config: Config,
    reference: Policy | None,
) -> tuple[float, float]:
    """The optimiser steps of one batch; returns the last loss and gradient norm."""
    value, norm = 0.0, 0.0
    for _ in range(config.num_iterations):
        loss = policy_loss(state, method, batch, scores, advantage, budget, config, reference)
        if config.distill > 0:
            loss = loss + config.distill * distillation_loss(state.policy, batch, scores)
        if not loss.requires_grad:  # no response carries a signal
            return 0.0, 0.0
        state.optimiser.zero_grad()
        loss.backward()
        parameters = state.policy.decoder.parameters()
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
        value = float(loss.detach())
        if not (torch.isfinite(torch.tensor([value, norm])).all()):
            raise DivergedError(
                f"step {state.step + 1}: loss={value}, grad_norm={norm}; {_mend(config)}"
            )
        state.optimiser.step()
    return value, norm


def check_finite(state: State, config: Config) -> None:
    """A checkpoint is a good state: weights that overflowed are not saved over it."""
    if not all(weight.isfinite().all() for weight in state.policy.decoder.parameters()):
        raise DivergedError(f"step {state.step}: weights overflowed; {_mend(config)}")


def evaluate(
    state: State,
    method: Method,
    stream: list[Phase],
    config: Config,
    watcher: Watcher,
    after: int,
) -> None:
    """A row of the matrix: every task of the stream, as the recipe would serve it now."""
    seen: dict[str, tuple[Practice, dict[str, Any]]] = {}
    exams = []
    for phase in stream:
        key = phase.model_dump_json(exclude={"steps"})
        if key not in seen:  # a task that comes back is examined once
            seen[key] = examine_phase(
                state.policy,
                state.examiner,
                phase,
                config,
                method.serving,
                state.dual.shift,
                f"{config.seed}",
            )
        exams.append(seen[key])
    # The threshold of a model that serves every task so far, under the budget of the last.
    known = [practice for practice, _ in exams[: after or None]]
    budget = budget_of(stream[max(after, 1) - 1], config)
    row = {
        "after_phase": after,
        "step": state.step,
        "threshold": pooled(known).threshold(budget, config.price.spare),
        "tasks": [cell for _, cell in exams],
    }
    state.matrix.append(row)
    watcher.on_evaluation(row)


def _mend(config: Config) -> str:
    return (
        "the last checkpoint is kept; start a new run with less than "
        f"learning_rate={config.learning_rate}"
    )


def reference_policy(config: Config) -> Policy | None:
    """The model before training, kept only where the loss is held to it."""
    return Policy.load(config.model, config.device, config.bf16) if config.beta > 0 else None


def ends(stream: list[Phase]) -> list[int]:
    """The step counts at which phases end."""
    totals, total = [], 0
    for phase in stream:
        total += phase.steps
        totals.append(total)
    return totals


def remaining(stream: list[Phase], step: int) -> Iterator[tuple[int, Phase]]:
    """(phase number from 1, phase) of every step still to come."""
    for number, (phase, end) in enumerate(zip(stream, ends(stream), strict=True), start=1):
        for _ in range(max(step, end - phase.steps), end):
            yield number, phase
