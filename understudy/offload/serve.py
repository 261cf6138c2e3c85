"""A trained run at work: one question, or a whole examination."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import torch

from understudy.clouds import MeteredCloud
from understudy.config import Config
from understudy.errors import RunError
from understudy.models.tokens import ASK, END, PAD
from understudy.offload.evaluate import budget_of, examine_phase, greedy
from understudy.offload.method import Serving
from understudy.offload.session import saved_config, trained_policy
from understudy.offload.start import build_cloud
from understudy.offload.state import saved_dual
from understudy.run import RunDirectory
from understudy.tasks import answer_of
from understudy.tasks.recognise import recognise
from understudy.tasks.stream import load_stream
from understudy.types import Query, Request


def answer_question(run: RunDirectory, serving: Serving, question: str) -> dict[str, Any]:
    """Answer locally, or ask: who answered, why, and what it cost."""
    config = saved_config(run)
    policy, folder = trained_policy(run, config)
    torch.set_num_threads(config.threads)
    for token in (PAD, END, ASK):
        if token in question:
            raise RunError(f"the question holds {token}, a token of the model's own; leave it out")
    question = question.strip().lower()  # the tiny model knows no capitals
    if not question:
        raise RunError("the question is empty; ask something")
    longest = policy.decoder.shape.max_position_embeddings - config.max_completion_length
    if (length := len(policy.tokens.encode(question))) >= longest:
        raise RunError(f"the question has {length} tokens; the model reads fewer than {longest}")
    unknown = sorted({c for c in question if policy.tokens.unknown(c)})
    if unknown:
        raise RunError(
            f"the model has no token for {' '.join(unknown)!r}; see docs/tasks.md for what it reads"
        )
    texts, margins = greedy(policy, [question], config.max_completion_length)
    text, margin = texts[0], float(margins[0])
    row = run.read(run.matrix)[-1]
    budget = budget_of(load_stream(config.stream)[max(row["after_phase"], 1) - 1], config)
    threshold = float(row["threshold"])
    if serving in ("own", "capped") and budget > 0:
        threshold = -saved_dual(folder)["shift"] * config.temperature
    side = "above" if margin > threshold else "not above"
    lead = f"its lead for asking, {margin:.2f}, is {side} the threshold, {threshold:.2f}"
    local: dict[str, Any] = {"answer": answer_of(text) or "(no answer)", "answered_by": "local"}
    local |= {"local_text": text, "margin": margin, "threshold": threshold}
    local |= {"dollars": 0.0, "cloud_tokens": 0, "seconds": 0.0}
    if serving == "random":
        luck = random.Random(f"{config.seed} {question}").random()
        lead = f"it never asks by itself; a share of {budget:.2f} is sent at random"
        asks = luck < budget
    else:
        asks = margin > threshold
    return local | _help(config, question, lead) if asks else local | {"why": lead}


def _help(config: Config, question: str, lead: str) -> dict[str, Any]:
    """What the cloud adds to an answer; where it fails, the local one stands and says so."""
    query = recognise(question) or Query(question, "", "", 5, "")
    reply = asyncio.run(build_cloud(config.cloud).answer(Request(query)))
    cost: dict[str, Any] = {"dollars": reply.dollars, "seconds": reply.seconds}
    cost["cloud_tokens"] = reply.prompt_tokens + reply.completion_tokens
    if reply.error is not None or reply.text is None:
        return cost | {"why": f"{lead}, but the cloud failed: {reply.error}"}
    answer = answer_of(reply.text) or reply.text
    return cost | {"answer": answer, "answered_by": "cloud", "why": lead}


def examine_run(run: RunDirectory, serving: Serving, queries: int) -> list[dict[str, Any]]:
    """A graded cell per task of the run's stream, thresholds fitted anew on as many questions.

    Unlike the rows of a matrix these questions are drawn apart from the run's own evaluations.
    """
    config = saved_config(run)
    policy, folder = trained_policy(run, config)
    torch.set_num_threads(config.threads)
    examined = config.model_copy(update={"eval_queries": queries, "calibration_queries": queries})
    shift, key = saved_dual(folder)["shift"], f"eval {config.seed}"
    cloud = MeteredCloud(build_cloud(config.cloud))
    cells = []
    for phase in load_stream(config.stream):
        _, cell = examine_phase(policy, cloud, phase, examined, serving, shift, key)
        budget = budget_of(phase, config)
        cells.append({"task": phase.name, "budget": budget, "queries": queries} | cell)
    return cells
