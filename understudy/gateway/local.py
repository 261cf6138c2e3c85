"""The local model as the gateway serves it: engine, version, and who decides for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from understudy.gateway.draft import Draft
from understudy.gateway.engine import Engine
from understudy.gateway.form import Prepared, UnableError, jobs_of, prepared
from understudy.gateway.policy import Policy
from understudy.gateway.requests import Caller, ChatRequest, Refused

# The task of a question: the one that was named, or that it is recognised as; '': as usual.
TaskOf = Callable[[str, str], str]  # of a name, and the last message's text


@dataclass(slots=True)
class LocalSide:
    engine: Engine
    policy: Callable[[str], Policy]  # of a task; '': the usual one
    serving: str  # the version that answers, name@step
    task_of: TaskOf = lambda named, text: named
    temperature: float | None = None  # where a request gives none; None: as the engine has it
    knows: Callable[[str], bool] = lambda text: True  # which questions it can answer at all
    tasks: Collection[str] = ()  # that a request may name; (): any, as nothing goes by it
    knows_tasks: bool = False  # the engine asks a question as one of a run's tasks

    def versions(self) -> list[str]:
        return self.engine.versions()

    def prepared(self, request: ChatRequest, caller: Caller) -> Prepared:
        """Raises UnableError, and Refused for a task that there is not."""
        task = caller.task or str(request.metadata.get("task") or "")
        if task and self.tasks and task not in self.tasks:
            known, by_metadata = ", ".join(self.tasks), request.metadata.get("task") == task
            raise Refused(
                400,
                "invalid_request_error",
                f"there is no task {task!r} here; this model knows {known}",
                code="unknown_task",
                param="metadata.task" if by_metadata else "x-understudy-task",
            )
        found = prepared(request, task, self.engine)
        if not self.knows(found.question.prompt):
            raise UnableError(
                "answers only generated questions, such as 'What is 17 + 25?'", "messages"
            )
        return found

    def policy_for(self, asked: Prepared) -> tuple[str, Policy]:
        """Who decides, and the task that it is decided as."""
        task = self.task_of(asked.task, asked.question.prompt)
        return task, self.policy(task)

    def draft(self, request: ChatRequest, caller: Caller, asked: Prepared, version: str) -> Draft:
        """version: '' for the one that serves."""
        task = asked.task if self.knows_tasks else ""
        named = replace(asked, task=task)
        jobs = jobs_of(request, caller, named, version or self.serving, self.temperature)
        return Draft(self.engine, jobs)
