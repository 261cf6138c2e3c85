"""`understudy env`: what results depend on."""

from __future__ import annotations


def env() -> None:
    """Print the versions and the machine that results depend on."""
    from understudy.environment import environment

    for key, value in environment().items():
        print(f"{key}: {value}")
