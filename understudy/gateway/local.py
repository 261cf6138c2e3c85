"""The local model as the gateway serves it: its engine, how it is asked, who decides for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from understudy.gateway.draft import Draft
from understudy.gateway.engine import Engine
from understudy.gateway.form import Form, PlainForm, Prepared, jobs_of
from understudy.gateway.policy import Policy
from understudy.gateway.requests import Caller, ChatRequest
from understudy.gateway.settings import LocalSettings

PLAIN = PlainForm()


@dataclass(slots=True)
class LocalSide:
    engine: Engine
    settings: LocalSettings
    form: Form
    policy: Callable[[str], Policy]  # of a task; '': of none that is known
    serving: str  # the version that answers, name@step

    def versions(self) -> list[str]:
        return self.engine.versions()

    def prepared(self, request: ChatRequest, caller: Caller) -> Prepared:
        """Raises UnableError."""
        form = PLAIN if request.prompt is not None or self.settings.form == "plain" else self.form
        task = caller.task or str(request.metadata.get("task") or "") or self.settings.task
        return form.prepared(request.messages, task)

    def draft(
        self, request: ChatRequest, caller: Caller, prepared: Prepared, version: str
    ) -> Draft:
        """version: '' for the one that serves."""
        jobs = jobs_of(request, caller, prepared, version or self.serving, self.settings)
        return Draft(self.engine, jobs)
