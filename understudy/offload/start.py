"""Builds a run from its settings: its state before the first step, and those who help."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import torch

from understudy.clouds.building import build_cloud
from understudy.clouds.metered import MeteredCloud
from understudy.errors import ConfigError
from understudy.models.policy import Policy
from understudy.models.vllm import VllmEngine
from understudy.offload.answer_length import longest_label
from understudy.offload.config import Config
from understudy.offload.device import check_device
from understudy.offload.helpers import Helpers
from understudy.offload.learner import PolicyLearner
from understudy.offload.method import Method
from understudy.offload.phases import phases_of
from understudy.offload.request_row import request_row
from understudy.offload.rewards import build_rewards
from understudy.offload.scores import Valuation
from understudy.offload.settled import with_choices
from understudy.offload.state import State
from understudy.offload.team import ALONE, Team, own_device
from understudy.progress import task
from understudy.retention.build import build_retention
from understudy.retention.retention import Retention
from understudy.routing.router import build_router
from understudy.run import RunDirectory
from understudy.tasks import DataSet, KeyOfDrawn, Tasks, open_tasks
from understudy.tasks.asked import asked_tasks
from understudy.tasks.examples import usual_count


def start(
    config: Config, method: Method, team: Team = ALONE, checkpoint: Path | None = None
) -> tuple[State, Helpers]:
    """A run before its first step, with the weights of a checkpoint where one is given."""
    config = with_choices(config)
    torch.set_num_threads(config.threads)
    policy = load_policy(config, str(checkpoint) if checkpoint else None)
    if config.dtype != "float32" and policy.lora is None:
        raise ConfigError(
            f"dtype={config.dtype}: trained weights are kept in float32, or small steps are lost; "
            "set lora.rank, or bf16=true for the products alone"
        )
    if config.sampler == "vllm":
        if team.size > 1:
            raise ConfigError(f"sampler=vllm: one process has it, not {team.size}; sampler=own")
        policy = replace(policy, engine=VllmEngine(policy, config.sampler_options))
    elif config.sampler_options:
        raise ConfigError("sampler_options are for sampler=vllm; leave them out, or set that")
    tasks = build_tasks(config, policy)
    cloud = build_cloud(config.cloud, tasks.key)
    valuation = Valuation(tasks, config.reward, build_rewards(config.reward))
    tasks.prepare(phases_of(config))  # before anything is paid for
    router = build_router(config.router)
    helpers = Helpers(MeteredCloud(cloud), MeteredCloud(cloud), tasks, valuation, router, team)
    if team.leads:
        _warn_of_guide(config, policy)
    return _state(config, method, policy), helpers


def _state(config: Config, method: Method, policy: Policy) -> State:
    method.prepare(policy.model.embedding.weight.shape[1])
    retention = retention_of(config, policy)
    optimiser = retention.optimiser(config.learning_rate)
    if optimiser is None:
        optimiser = torch.optim.Adam(policy.trainable(), lr=config.learning_rate)
    if own := list(method.parameters()):
        for parameter in own:
            parameter.data = parameter.data.to(policy.device)
        optimiser.add_param_group({"params": own})
    return State(policy, method, retention, optimiser, method.start())


def retention_of(config: Config, policy: Policy) -> Retention:
    """What holds the old skill of a policy, as the settings describe it."""
    learner = PolicyLearner(policy, lambda: load_policy(config), config.max_completion_length)
    return build_retention(config.retention, config.beta, learner, config.seed)


def load_policy(config: Config, model: str | None = None) -> Policy:
    """The model that the settings describe, or that of another folder."""
    check_device(config.device)
    with task(f"loading {model or config.model}"):
        return Policy.load(
            model or config.model,
            own_device(config.device),
            config.bf16,
            lora=config.lora,
            backend=config.backend,
            dtype=config.dtype,
            checkpointing=config.gradient_checkpointing,
            request=config.request,
            train_row=config.sampler != "vllm",  # it serves none
            seed=config.seed,
            source=config.model,
        )


def tasks_to_ask(
    run: RunDirectory, config: Config, policy: Policy, key: KeyOfDrawn | None = None
) -> Tasks:
    """What it takes to ask: no data are read, unless an older run kept nothing of them."""
    key = key or KeyOfDrawn()
    if not run.data_sets.exists():
        return replace(build_tasks(config, policy), key=key)
    record = run.read(run.data_sets)
    return asked_tasks(record, run.data_sets, config.sandbox.allow_unsafe_code, key)


def build_tasks(config: Config, policy: Policy) -> Tasks:
    """What the run asks, without questions that its model has no room for."""
    tasks = open_tasks(config.data, allow_unsafe_code=config.sandbox.allow_unsafe_code)
    tasks = tasks.showing(lambda data: examples_shown(data, config, policy))
    _warn_of_cut_labels(tasks, config, policy)
    length = config.max_completion_length
    return tasks.fitting(lambda problem: policy.fits(problem.local_question, length))


def _warn_of_cut_labels(tasks: Tasks, config: Config, policy: Policy) -> None:
    """Say so where the longest right answer does not fit."""
    for phase in phases_of(config):
        longest = longest_label(policy.tokens, tasks, [phase])
        if longest is not None and longest > config.max_completion_length:
            warnings.warn(
                f"max_completion_length={config.max_completion_length}: the longest answer of "
                f"{phase.name} takes {longest} tokens with its end, and will be cut off; set at "
                "least that",
                stacklevel=2,
            )


def _warn_of_guide(config: Config, policy: Policy) -> None:
    """Say so where the guide cannot train the request's row alone."""
    price = getattr(config, "price", None)
    alone = getattr(price, "guide_trains", "") == "request" and getattr(price, "guide", 0.0) > 0
    if alone and request_row(policy) is None:
        warnings.warn(
            "price.guide_trains=request: the request's row of this head is frozen, or logits are "
            "more than the head's product; the guide trains all that learns, as with "
            "price.guide_trains=model",
            stacklevel=2,
        )


def examples_shown(data: DataSet, config: Config, policy: Policy) -> int:
    """How many worked examples of a data set the model is shown: as set, or else as many as are
    usual and take no more than a quarter of its positions, where it knows turns at all."""
    given = config.data[data.name].examples
    if given:
        _check_examples(data, given, config, policy)
    if given is not None or policy.tokens.chat is None:
        return given or 0
    train = data.questions["train"]
    count = usual_count(data.checker.kind, len(data.checker.labels), train)
    while count and not _affordable(data, count, policy):
        count //= 2
    return count


def _affordable(data: DataSet, count: int, policy: Policy) -> bool:
    shown = data.with_examples(count)
    left = bool(shown.questions["train"]) or not data.questions["train"]
    return left and policy.fits(shown.question("").local_question, policy.longest * 3 // 4)


def _check_examples(data: DataSet, given: int, config: Config, policy: Policy) -> None:
    """Refuse so many examples that nothing is left to train on, or no room for a question."""
    shown, length = data.with_examples(given), config.max_completion_length
    train = len(data.questions["train"])
    if train and not shown.questions["train"]:
        raise ConfigError(
            f"data.{data.name}.examples={given}: they are all of its {train} training questions; "
            "lower it"
        )
    left = [each for part in shown.questions.values() for each in part]
    shortest = min(left, key=lambda each: len(each.prompt), default=None)
    if shortest is None or policy.fits(shortest.local_question, length):
        return
    if policy.fits(replace(shortest, examples=()).local_question, length):
        taken = int(policy.prompts([shown.question("").local_question]).mask.sum())
        raise ConfigError(
            f"data.{data.name}.examples={given}: they take {taken} of the model's "
            f"{policy.longest} positions and leave no room for a question and an answer of "
            f"max_completion_length={length} tokens; lower it"
        )
