"""The seam: what a tracker is, and what it is told of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """The run, or one of its variants, that a tracker shows."""

    project: str
    name: str
    folder: Path  # for what the tracker keeps on disk; it may not be there yet
    id: str | None = None  # what `start` returned when the run began; None: it begins


class Tracker(Protocol):
    """Shows the numbers of a run as it goes on.

    A kind is built as `Kind(run)`, with a TrackedRun. `imports` is what it imports when it is
    built, if that may be missing. Whatever it raises, the run goes on without it.
    """

    def start(self, config: Mapping[str, Any]) -> str | None:
        """Begin, or continue where `run.id` says. Returns what it takes to continue later.

        config: the settings of the run, without secrets.
        """
        ...

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Steps rise; an examination has the step of the training before it."""
        ...

    def finish(self) -> None: ...
