"""A trained run at work: one question, or a whole examination."""

from __future__ import annotations

import random
from contextlib import closing
from typing import Any

import torch

from understudy.clouds import MeteredCloud
from understudy.errors import RunError
from understudy.models.policy import Policy
from understudy.models.tokens import ASK, END, PAD
from understudy.offload.config import Config
from understudy.offload.examination import Candidate, Examiner, examine_phase, greedy
from understudy.offload.method import Serving
from understudy.offload.phases import budget_of, phases_of
from understudy.offload.session import trained_policy
from understudy.offload.start import build_cloud, build_tasks
from understudy.offload.state import saved_dual
from understudy.run import RunDirectory
from understudy.tasks import DataSet, Tasks
from understudy.tasks.recognise import recognise
from understudy.types import Problem


def answer_question(
    run: RunDirectory, config: Config, serving: Serving, question: str, task: str | None = None
) -> dict[str, Any]:
    """Answer locally, or ask: who answered, why, and what it cost."""
    policy, folder = trained_policy(run, config)
    torch.set_num_threads(config.threads)
    with closing(build_tasks(config, policy)) as tasks:
        problem = _problem(tasks, config, question, task)
        _check_readable(policy, problem, config)
        texts, margins = greedy(policy, [problem], config.max_completion_length)
        text, margin = texts[0], float(margins[0])
        row = run.read(run.matrix)[-1]
        budget = budget_of(phases_of(config)[max(row["after_phase"], 1) - 1], config)
        threshold = float(row["threshold"])
        if serving in ("own", "capped") and budget > 0:
            threshold = -saved_dual(folder)["shift"] * config.temperature
        side = "above" if margin > threshold else "not above"
        lead = f"its lead for asking, {margin:.2f}, is {side} the threshold, {threshold:.2f}"
        local: dict[str, Any] = {"answer": tasks.answer(problem, text) or "(no answer)"}
        local |= {"answered_by": "local", "local_text": text}
        local |= {"margin": margin, "threshold": threshold}
        local |= {"dollars": 0.0, "cloud_tokens": 0, "seconds": 0.0}
        if serving == "random":
            luck = random.Random(f"{config.seed} {problem.prompt}").random()
            lead = f"it never asks by itself; a share of {budget:.2f} is sent at random"
            asks = luck < budget
        else:
            asks = margin > threshold
        return local | (_help(config, tasks, problem, lead) if asks else {"why": lead})


def _problem(tasks: Tasks, config: Config, question: str, task: str | None) -> Problem:
    """The question as the task would ask it; without a task named, as the run's last one."""
    names = [name for phase in phases_of(config) for name in phase.families]
    name = task or names[-1]
    if name not in names:
        raise RunError(f"--task {name}: this run knows {', '.join(dict.fromkeys(names))}")
    for token in (PAD, END, ASK):
        if token in question:
            raise RunError(f"the question holds {token}, a token of the model's own; leave it out")
    if not question.strip():
        raise RunError("the question is empty; ask something")
    family = tasks.families[name]
    if isinstance(family, DataSet):
        return family.question(question.strip())
    question = question.strip().lower()  # generated questions have no capitals
    return recognise(question) or Problem(question, "", name, 5, "")


def _check_readable(policy: Policy, problem: Problem, config: Config) -> None:
    length = int(policy.prompts([problem.question]).mask.sum())
    longest = policy.longest - config.max_completion_length
    if length >= longest:
        raise RunError(f"the question has {length} tokens; the model reads fewer than {longest}")
    if unknown := sorted({c for c in problem.prompt if policy.tokens.unknown(c)}):
        raise RunError(
            f"the model has no token for {' '.join(unknown)!r}; see docs/tasks.md for what it reads"
        )


def _help(config: Config, tasks: Tasks, problem: Problem, lead: str) -> dict[str, Any]:
    """What the cloud adds to an answer; where it fails, the local one stands and says so."""
    with closing(MeteredCloud(build_cloud(config.cloud, tasks.key))) as cloud:
        (reply,) = cloud.replies([problem.question])
    cost: dict[str, Any] = {"dollars": reply.dollars, "seconds": reply.seconds}
    cost["cloud_tokens"] = reply.prompt_tokens + reply.completion_tokens
    if reply.error is not None or reply.text is None:
        return cost | {"why": f"{lead}, but the cloud failed: {reply.error}"}
    answer = tasks.answer(problem, reply.text) or reply.text
    return cost | {"answer": answer, "answered_by": "cloud", "why": lead}


def examine_run(
    run: RunDirectory, config: Config, serving: Serving, problems: int
) -> list[dict[str, Any]]:
    """A graded cell per task of the run's stream, thresholds fitted anew on as many questions.

    Unlike the rows of a matrix these questions are drawn apart from the run's own evaluations.
    """
    policy, folder = trained_policy(run, config)
    torch.set_num_threads(config.threads)
    examined = config.model_copy(update={"eval_queries": problems, "calibration_queries": problems})
    candidate = Candidate(policy, serving, saved_dual(folder)["shift"])
    cells = []
    with (
        closing(build_tasks(config, policy)) as tasks,
        closing(MeteredCloud(build_cloud(config.cloud, tasks.key))) as cloud,
    ):
        examiner = Examiner(tasks, cloud, rows=config.batch_size * config.num_generations)
        for phase in phases_of(config):
            _, cell = examine_phase(candidate, examiner, phase, examined, f"eval {config.seed}")
            budget = budget_of(phase, config)
            cells.append({"task": phase.name, "budget": budget, "queries": problems} | cell)
    return cells
