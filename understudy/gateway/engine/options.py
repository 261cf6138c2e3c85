"""How much an engine takes on, and what its versions are called. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Whether a run's questions get their task's instruction and examples.
Form = Literal["task", "plain"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The bounds of one engine."""

    rows: int = 32  # answers written at once
    waiting: int = 256  # requests that wait for a place
    piece: int | None = None  # tokens of prompts read in a pass; None: by the time that it takes
    pass_seconds: float = 0.1  # that a pass should take at most, for those who write
    longest_answer: int = 256  # tokens, where a request bounds none
    cache_bytes: int = 4 << 30  # of keys and values of all rows
    prefix_bytes: int = 512 << 20  # of what prompts share, kept across requests
    history_bytes: int = 256 << 20  # of what ended requests read, for the next turn
    threads: int | None = None  # of the CPU; None: as the run, or by the model's size


DEFAULT = EngineOptions()


def named(what: str, name: str, step: int = 0) -> str:
    """The name of a version.

    >>> named("runs/real/", "", 40), named("org/small@main", ""), named("my.gguf", "mine")
    ('real@40', 'small@0', 'mine@0')
    """
    short = name or Path(what.partition("@")[0]).name.removesuffix(".gguf") or "local"
    return f"{short}@{step}"
