"""A run of `understudy train`, served: its newest model, asked as `understudy ask` asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from understudy import recipes
from understudy.errors import ConfigError
from understudy.gateway.engine.base import Base, build_base
from understudy.gateway.engine.local import LocalEngine
from understudy.gateway.engine.options import EngineOptions, Form, named
from understudy.gateway.engine.prompts import AsAsked
from understudy.models import adapters
from understudy.models.gguf import unpacked_again
from understudy.models.hub import ADAPTER
from understudy.models.policy import Policy
from understudy.offload.config import Config
from understudy.offload.device import check_device
from understudy.offload.serve import problem_of
from understudy.offload.start import tasks_to_ask
from understudy.retention import RETENTIONS
from understudy.retention.retention import Retention
from understudy.run import RunDirectory
from understudy.tasks import Tasks
from understudy.types import Question, Turn

_ANY = "\ue000"  # in place of a question, to see what stands before any


def open_run(path: Path, name: str, form: Form, task: str, options: EngineOptions) -> LocalEngine:
    """form: "plain" leaves the tasks' instructions and examples out; task: the usual one."""
    run = RunDirectory.open(path)
    if run.settings().get("recipe") == "share":
        raise ConfigError(f"{path}: a run of understudy share; only those of train answer")
    config = recipes.saved_config(run)
    _check_retention(config)
    folder = run.last_checkpoint()
    step = int(folder.name.rpartition("-")[2])
    torch.set_num_threads(options.threads or config.threads or 1)
    adapted = (folder / ADAPTER).is_file()
    base = str(folder)
    if adapted:
        base = unpacked_again(adapters.read_config(folder)[0], config.model)
    policy = _policy(config, base)
    tasks: Tasks | None = None
    as_asked: AsAsked | None = None
    if form == "task":
        try:
            tasks = tasks_to_ask(run, config, policy)
        except ConfigError as error:
            raise ConfigError(
                f"{error}; local.form=plain serves the run without its tasks' instructions and "
                "examples, and so without their data"
            ) from error
        as_asked = partial(_as_asked, tasks, config, task or None)
    longest = config.max_completion_length

    def load_folder(folder: Path) -> Base:
        return build_base(_policy(config, str(folder)), options, longest, as_asked)

    served = build_base(policy, options, longest, as_asked)
    close = None if tasks is None else tasks.close
    version = named(str(path.resolve()), name, step)
    return LocalEngine(served, version, options, load_folder, close, folder if adapted else None)


def _as_asked(
    tasks: Tasks, config: Config, usual: str | None, turns: Sequence[Turn], task: str
) -> tuple[Question, Question]:
    problem = problem_of(tasks, config, Question(tuple(turns)), task or usual)
    begun = replace(problem, prompt=_ANY, history=())
    return problem.local_question, begun.local_question


def _policy(config: Config, model: str) -> Policy:
    """The settings' model as training computed it, on a machine that may be another."""
    try:
        check_device(config.device)
        device = config.device
    except ConfigError:
        device = "cpu"
    return Policy.load(
        model,
        device,
        config.bf16,
        backend=config.backend,
        dtype=config.dtype,
        request=config.request,
        source=config.model,
    )


def _check_retention(config: Config) -> None:
    """Refuse what answers every task with weights of its own."""
    kind = config.retention.kind
    if kind in ("none", "kl"):
        return
    if RETENTIONS.load(kind).answering is not Retention.answering:
        raise ConfigError(
            f"retention.kind={kind}: answers each task with weights of its own, which a gateway "
            "does not serve; use understudy ask, or export the adapters and load each by a name"
        )
