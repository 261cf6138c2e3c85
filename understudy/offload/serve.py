"""A trained run at work: a question that a person asks, or an examination of every task."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import torch

from understudy.clouds import MeteredCloud
from understudy.clouds.building import build_budget, build_cloud
from understudy.clouds.check import check_cloud
from understudy.clouds.failures import FailureWatch
from understudy.errors import ConfigError, RunError
from understudy.link import Budget, Refusal
from understudy.models.policy import Policy
from understudy.models.tokens import ASK, END, PAD
from understudy.offload.alarms import cell_alarms, over_budget
from understudy.offload.config import Config
from understudy.offload.examination import (
    Examiner,
    Occasion,
    ServedModel,
    examine_stream,
    rows_of,
)
from understudy.offload.fitted import FittedRouters
from understudy.offload.learner import holding
from understudy.offload.local import LocalGenerator, greedy
from understudy.offload.phases import budget_of, phases_of
from understudy.offload.records import Answer, TaskResult
from understudy.offload.session import trained_policy
from understudy.offload.start import build_tasks, retention_of, tasks_to_ask
from understudy.offload.state import restore_retention, saved_dual
from understudy.routing.router import Router, build_router, chosen_router, with_signals
from understudy.routing.rows import evidence_of
from understudy.run import RunDirectory
from understudy.tasks import DataSet, KeyOfDrawn, Tasks
from understudy.tasks.recognise import recognise, typed
from understudy.types import Cost, Problem, Question

_A_CALL = Cost(calls=1)


class TrainedModel:
    """A run's newest model, opened to answer questions and to be examined.

    Close it, or use it in a `with`. router: who decides in place of the run's own: a name,
    file.py:Name, or settings with `kind`; it is fitted on the questions that the run has examined.
    """

    def __init__(
        self, run: RunDirectory, config: Config, router: str | Mapping[str, Any] | None = None
    ) -> None:
        self.run, self.config = run, config
        policy, folder = trained_policy(run, config)
        torch.set_num_threads(config.threads or 1)
        own_threshold = -saved_dual(folder).shift * config.temperature
        settings = config.router
        if router is not None and router != settings.kind:
            settings = chosen_router(router)
        retention = retention_of(config, policy)
        restore_retention(retention, policy, folder)
        answering = retention.answering
        self.served = ServedModel(policy, build_router(settings), own_threshold, answering)
        self.stream = phases_of(config)
        self.step = int(folder.name.rpartition("-")[2])
        self._shares: dict[float, Budget] = {}  # by the share allowed
        self._open = ExitStack()
        self.key = KeyOfDrawn()
        asked = tasks_to_ask(run, config, policy, self.key)
        self.asked = self._open.enter_context(closing(asked))
        self.fitted = FittedRouters(
            run, config, self.served.router, own_threshold, lambda: self.tasks, self._generate
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._open.close()

    @cached_property
    def tasks(self) -> Tasks:
        """With the questions of the data sets, which are read when they are first needed."""
        built = replace(build_tasks(self.config, self.served.policy), key=self.key)
        return self._open.enter_context(closing(built))

    @cached_property
    def cloud(self) -> MeteredCloud:
        """Who helps. What it needs, such as a key, is looked for when it is first asked."""
        cloud = build_cloud(self.config.cloud, self.key)
        budget = build_budget(self.config.cloud)  # the caps hold for each command by itself
        return self._open.enter_context(closing(MeteredCloud(cloud, budget=budget)))

    def answer(self, question: Question, task: str | None = None) -> Answer:
        """Answer locally, or ask. task: which of the run's; None: the last."""
        problem = problem_of(self.asked, self.config, question, task)
        _check_readable(self.served.policy, problem, self.config)
        policy = self.served.policy
        with holding(policy, self.served.answering(self.fitted.phases(task))):
            router = self.router_of(task)
            (local,) = greedy(policy, [problem], self.config.max_completion_length)
            evidence = evidence_of([problem.local_question], [local], self.served.own_threshold)
            evidence = with_signals(router, evidence, self._generate)
        luck = random.Random(f"{self.config.seed} {problem.prompt}").random()
        asks = luck < float(router.decisions(evidence)[0])
        answer = Answer(
            text=self.asked.answer(problem, local.answer) or None,
            answered_by="local",
            why=router.why(evidence),
            cost=Cost(),
            local_text=local.answer,
            margin=local.margin,
            threshold=router.threshold,
        )
        share = self._share(task)
        share.see()
        if asks:
            share.charge(_A_CALL)
            return self._helped(problem, answer)
        return answer if answer.text is not None else self._rescued(problem, answer, share)

    def _share(self, task: str | None) -> Budget:
        """What is left of a task's budget in the questions that were asked here."""
        budget = budget_of(self.stream[self.fitted.phases(task)[-1] - 1], self.config)
        return self._shares.setdefault(budget, Budget(share=budget))

    def _rescued(self, problem: Problem, local: Answer, share: Budget) -> Answer:
        """The cloud's answer where the local model gave none and the budget has room."""
        none = replace(local, why=f"the local model's reply holds no answer ({local.why})")
        room = share.reserve(_A_CALL)
        if isinstance(room, Refusal):
            return replace(none, why=f"{none.why}; the cloud is not asked: {room.reason}")
        helped = self._helped(problem, none)
        share.settle(room, Cost(calls=helped.cost.calls))
        return helped

    def router_of(self, task: str | None = None) -> Router:
        """The router of one of the run's tasks, fitted as in the last examination; None: the
        last."""
        return self.fitted.of(task).router

    def examine(self, queries: int, check: bool = True) -> list[TaskResult]:
        """Every task of the stream on so many test questions, the router fitted anew on as many.

        Unlike those of a matrix these questions are drawn apart from the run's own examinations.
        check: whether the cloud is tried with one question first.
        """
        sizes = {"eval_queries": queries, "calibration_queries": queries}
        config = self.config.model_copy(update=sizes)
        rows = config.batch_size * config.num_generations
        examiner = Examiner(self.tasks, self.cloud, rows=rows)
        name = f"eval-{queries}-step-{self.step}"
        occasion = Occasion(name, f"eval {config.seed}")
        cloud, most = self.cloud.cloud, config.cloud.max_failed_share
        self.cloud.watch = FailureWatch(cloud, most, warnings.warn, "then start the command again")
        if check and config.cloud.checked:
            test = self.tasks.exam(self.stream[0], queries, "test", occasion.key)
            reply = check_cloud(cloud, test[0].question, warnings.warn, self.cloud.budget)
            if reply is not None:
                self.cloud.adopt(test[0].question, reply)
        found = examine_stream(self.served, examiner, self.stream, config, occasion)
        try:
            self.run.write_examination(name, [row.to_json() for row in rows_of(found)])
        except OSError as error:  # somebody else's run, perhaps; the figures are known
            warnings.warn(f"{self.run.path}: rows are not kept ({error.strerror})", stacklevel=2)
        results = [
            TaskResult(phase.name, budget_of(phase, config), queries, each.cell)
            for phase, each in zip(self.stream, found, strict=True)
        ]
        found_wrong = [text for each in results for text in cell_alarms(each.task, each.cell)]
        over = (over_budget(each.task, each.cell, each.budget) for each in results)
        for text in dict.fromkeys([*found_wrong, *filter(None, over)]):
            warnings.warn(text, stacklevel=2)
        return results

    @property
    def _generate(self) -> LocalGenerator:
        return LocalGenerator(self.served.policy, self.config.max_completion_length)

    def _helped(self, problem: Problem, local: Answer) -> Answer:
        """The cloud's answer in its place; where the cloud fails, the local one stands."""
        try:
            (reply,) = self.cloud.replies([problem.question])
        except ConfigError as error:
            return replace(local, why=f"{local.why}, but the cloud cannot be asked: {error}")
        paid = replace(local, cost=reply.cost)
        if reply.error is not None or reply.text is None:
            return replace(paid, why=f"{local.why}, but the cloud failed: {reply.error}")
        answer = self.asked.answer(problem, reply.text) or reply.text
        return replace(paid, text=answer, answered_by="cloud")


def problem_of(tasks: Tasks, config: Config, question: Question, task: str | None) -> Problem:
    """The question as the task would ask it; without a task named, as the run's last one.

    A system message takes the place of the task's instruction, earlier turns stand before the
    question.
    """
    roles = [message.role for message in question.messages]
    if roles[-1:] != ["user"] or not {*roles[1:]} <= {"user", "assistant"}:
        raise RunError(
            f"a conversation of {', '.join(roles) or 'no turns'}: it may begin with a system "
            "message, has turns of user and assistant, and ends with the user's"
        )
    turns = question.messages[1:] if roles[0] == "system" else question.messages
    problem = _last_turn(tasks, config, question, task)
    if roles[0] == "system":
        problem = replace(problem, instruction=question.messages[0].content)
    return replace(problem, history=turns[:-1])


def known_task(config: Config, task: str | None) -> str:
    """The task that a question belongs to: the one given, or the stream's last."""
    names = [name for phase in phases_of(config) for name in phase.families]
    if task is not None and task not in names:
        raise RunError(f"task {task}: this run knows {', '.join(dict.fromkeys(names))}")
    return names[-1] if task is None else task


def _last_turn(tasks: Tasks, config: Config, question: Question, task: str | None) -> Problem:
    name = known_task(config, task)
    for token in (PAD, END, ASK):
        if any(token in message.content for message in question.messages):
            raise RunError(f"the question holds {token}, a token of the model's own; leave it out")
    text = question.prompt.strip()
    if not text:
        raise RunError("the question is empty; ask something")
    family = tasks.families[name]
    if isinstance(family, DataSet):
        return family.question(text)
    text = typed(text)
    return recognise(text) or Problem(text, "", name, 5, "")


def _check_readable(policy: Policy, problem: Problem, config: Config) -> None:
    length = int(policy.prompts([problem.local_question]).mask.sum())
    longest = policy.longest - config.max_completion_length
    if length >= longest:
        raise RunError(f"the question has {length} tokens; the model reads fewer than {longest}")
    texts = (problem.prompt, *(message.content for message in problem.history))
    letters = {letter for text in texts for letter in text}
    if unknown := sorted({c for c in letters if policy.tokens.unknown(c)}):
        raise RunError(
            f"the model has no token for {' '.join(unknown)!r}; "
            "docs/tiny-model.md says what it reads"
        )
