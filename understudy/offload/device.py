"""Where a run computes."""

from __future__ import annotations

from understudy.errors import ConfigError


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
