"""Trackio, which keeps its database on this machine; `trackio show` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from understudy.trackers.tracker import TrackedRun


class Trackio:
    """A run of trackio, which it knows by its name: four letters after it keep two apart."""

    imports = "trackio"

    def __init__(self, run: TrackedRun) -> None:
        import trackio

        self.run, self._trackio = run, trackio
        self._live: Any = None

    def start(self, config: Mapping[str, Any]) -> str:
        self._live = self._trackio.init(
            project=self.run.project,
            name=self.run.id or f"{self.run.name}-{uuid4().hex[:4]}",
            resume="never" if self.run.id is None else "must",
            config=dict(config),
        )
        return str(self._live.name)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._live.log(dict(metrics), step=step)

    def finish(self) -> None:
        if self._live is not None:
            self._live.finish()
