"""A run's state at its first step, from its settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from understudy.clouds import FaultyCloud, MeteredCloud, SimulatedCloud
from understudy.clouds.endpoint import Endpoint, chat_url, read_key
from understudy.clouds.prices import load_prices
from understudy.errors import ConfigError
from understudy.models.policy import Policy
from understudy.models.vllm import VllmEngine
from understudy.offload.config import CloudConfig, Config, Faults
from understudy.offload.method import Method
from understudy.offload.phases import phases_of
from understudy.offload.rewards import build_rewards
from understudy.offload.scores import Valuation
from understudy.offload.state import State
from understudy.offload.team import ALONE, Team, own_device
from understudy.progress import task
from understudy.tasks import FAMILIES, LEVELS, Tasks, open_tasks
from understudy.types import AnswerKey, Cloud


def start(config: Config, method: Method, team: Team = ALONE) -> State:
    torch.set_num_threads(config.threads)
    policy = load_policy(config)
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
    rewards = build_rewards(config.reward)
    tasks.prepare(phases_of(config))  # before anything is paid for
    return State(
        policy=policy,
        optimiser=torch.optim.Adam(policy.trainable(), lr=config.learning_rate),
        dual=method.start(),
        cloud=MeteredCloud(cloud),
        examiner=MeteredCloud(cloud),
        tasks=tasks,
        valuation=Valuation(tasks, config.reward, rewards),
        team=team,
    )


def load_policy(config: Config, model: str | None = None, adapted: bool = True) -> Policy:
    """The model that the settings describe, or another folder's in its stead."""
    check_device(config.device)
    with task(f"loading {model or config.model}"):
        return Policy.load(
            model or config.model,
            own_device(config.device),
            config.bf16,
            lora=config.lora if adapted else None,
            backend=config.backend,
            dtype=config.dtype,
            checkpointing=config.gradient_checkpointing,
            request=config.request,
            train_row=config.sampler != "vllm",  # it serves none
            seed=config.seed,
        )


def build_tasks(config: Config, policy: Policy) -> Tasks:
    """What the run asks, without questions that its model has no room for."""
    tasks = open_tasks(config.data, allow_unsafe_code=config.sandbox.allow_unsafe_code)
    length = config.max_completion_length
    return tasks.fitting(lambda problem: policy.fits(problem.question, length))


def check_device(name: str) -> None:
    try:
        torch.zeros((), device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device={name}: cannot be used here ({reason}); use cpu") from error


def build_cloud(config: CloudConfig, key: AnswerKey) -> Cloud:
    """The cloud that the settings describe; what it cannot be is refused here, before any call.

    key: the answer key that a simulated cloud answers from.
    """
    if config.kind == "openai":
        return _http_cloud(config)
    return _simulated_cloud(config, key)


def _http_cloud(config: CloudConfig) -> Cloud:
    from understudy.clouds.http import HttpCloud  # loads aiohttp

    http = config.http
    for name in ("base_url", "model", "prices"):
        if not getattr(http, name):
            raise ConfigError(f"cloud.http.{name} is empty; cloud.kind=openai needs it")
    if config.faults != Faults():
        raise ConfigError("cloud.faults are for the simulated cloud; cloud.kind is openai")
    key_file = Path(http.api_key_file) if http.api_key_file is not None else None
    return HttpCloud(
        Endpoint(
            url=chat_url(http.base_url),
            model=http.model,
            prices=load_prices(Path(http.prices), http.model),
            api_key=read_key(http.api_key_env, key_file),
            max_tokens=http.max_tokens,
            temperature=http.temperature,
            stream=http.stream,
            extra_body=http.extra_body,
            max_concurrency=http.max_concurrency,
            timeout_seconds=http.timeout_seconds,
            connect_timeout_seconds=http.connect_timeout_seconds,
            max_retries=http.max_retries,
            circuit_failures=http.circuit_failures,
            circuit_pause_seconds=http.circuit_pause_seconds,
        )
    )


def _simulated_cloud(config: CloudConfig, key: AnswerKey) -> Cloud:
    given = config.accuracy if isinstance(config.accuracy, dict) else {}
    for name in given:
        if name not in FAMILIES:
            raise ConfigError(f"cloud.accuracy: unknown family {name!r}; use {', '.join(FAMILIES)}")
    general = CloudConfig().accuracy if isinstance(config.accuracy, dict) else config.accuracy
    assert not isinstance(general, dict)
    simulated = SimulatedCloud(
        accuracy={name: _per_level(name, value) for name, value in given.items()},
        default_accuracy=_per_level("cloud.accuracy", general),
        latency_seconds=config.latency_seconds,
        dollars_per_million_prompt_tokens=config.dollars_per_million_prompt_tokens,
        dollars_per_million_completion_tokens=config.dollars_per_million_completion_tokens,
        seed=config.seed,
        key=key,
    )
    faults = config.faults
    if faults.failure_rate == faults.truncation_rate == 0:
        return simulated
    return FaultyCloud(simulated, faults.failure_rate, faults.truncation_rate, config.seed)


def _per_level(name: str, value: float | list[float]) -> tuple[float, ...]:
    figures = tuple(value) if isinstance(value, list) else (value,) * len(LEVELS)
    if len(figures) != len(LEVELS) or not all(0 <= figure <= 1 for figure in figures):
        raise ConfigError(
            f"{name}={value}: give one share in [0, 1], or one per level, {len(LEVELS)}"
        )
    return figures
