"""The routers of a run's tasks, with their scores on the validation questions. Loads torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from understudy import recipes
from understudy.models.policy import Policy
from understudy.offload.config import Config
from understudy.offload.fitted import FittedRouters
from understudy.offload.local import LocalGenerator
from understudy.offload.session import trained_policy
from understudy.offload.start import build_tasks
from understudy.offload.state import saved_dual
from understudy.routing.calibration import Calibrations
from understudy.routing.evidence import Generate
from understudy.routing.router import build_router
from understudy.run import RunDirectory
from understudy.settings import KindSection
from understudy.tasks import Tasks


def run_calibrations(path: Path, router: KindSection | None) -> Calibrations:
    """router: in place of the run's own; None: that one."""
    run = RunDirectory.open(path)
    config = recipes.saved_config(run)
    folder = run.last_checkpoint()
    help_ = _Help(run, config)
    fitted = FittedRouters(
        run,
        config,
        build_router(router or config.router),
        -saved_dual(folder).shift * config.temperature,
        lambda: help_.tasks,
        lambda questions: help_.generate(questions),
    )
    last = list(fitted.stream[-1].families)[-1]
    return Calibrations({name: fitted.of(name) for name in fitted.names}, last)


class _Help:
    """What a router needs that reads texts, or lets the model write more. The model is loaded
    for it a second time, beside the engine's, and let go after the fit."""

    def __init__(self, run: RunDirectory, config: Config) -> None:
        self.run, self.config = run, config

    @cached_property
    def policy(self) -> Policy:
        return trained_policy(self.run, self.config)[0]

    @cached_property
    def tasks(self) -> Tasks:
        return build_tasks(self.config, self.policy)

    @property
    def generate(self) -> Generate:
        return LocalGenerator(self.policy, self.config.max_completion_length)
