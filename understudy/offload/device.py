"""Where a run computes, with how many threads and in which precision."""

from __future__ import annotations

import os

from understudy.errors import ConfigError
from understudy.models.precision import chosen_bf16, chosen_threads, parameters_of
from understudy.offload.config import Config


def check_device(name: str) -> None:
    """Refuse a device that is not here."""
    if name == "cpu":
        return  # known without torch
    import torch

    try:
        torch.zeros((), device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device={name}: cannot be used here ({reason}); use cpu") from error


def with_precision(config: Config) -> Config:
    """The settings with the threads and the precision of products chosen, where they are null."""
    if config.threads is not None and config.bf16 is not None:
        return config
    check_device(config.device)
    parameters = parameters_of(config.model)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of one run on this machine
    chosen = {
        "threads": chosen_threads(parameters, here),
        "bf16": chosen_bf16(parameters, config.device),
    }
    kept = {name: value for name in chosen if (value := getattr(config, name)) is not None}
    return config.model_copy(update=chosen | kept)
