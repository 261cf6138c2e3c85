"""A run's state at its first step, from its settings."""

from __future__ import annotations

from pathlib import Path

import torch

from understudy.clouds import FaultyCloud, MeteredCloud, SimulatedCloud
from understudy.clouds.endpoint import Endpoint, chat_url, read_key
from understudy.clouds.prices import load_prices
from understudy.config import CloudConfig, Config, Faults
from understudy.errors import ConfigError
from understudy.models.policy import Policy
from understudy.offload.method import Method
from understudy.offload.state import State
from understudy.tasks import FAMILIES, LEVELS
from understudy.types import Cloud


def start(config: Config, method: Method) -> State:
    torch.set_num_threads(config.threads)
    check_device(config.device)
    policy = Policy.load(config.model, config.device, config.bf16)
    optimiser = torch.optim.Adam(policy.decoder.parameters(), lr=config.learning_rate)
    cloud = build_cloud(config.cloud)
    return State(
        policy=policy,
        optimiser=optimiser,
        dual=method.start(),
        cloud=MeteredCloud(cloud),
        examiner=MeteredCloud(cloud),
    )


def check_device(name: str) -> None:
    try:
        torch.zeros((), device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device={name}: cannot be used here ({reason}); use cpu") from error


def build_cloud(config: CloudConfig) -> Cloud:
    """The cloud that the settings describe; what it cannot be is refused here, before any call."""
    if config.kind == "openai":
        return _http_cloud(config)
    return _simulated_cloud(config)


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


def _simulated_cloud(config: CloudConfig) -> Cloud:
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
