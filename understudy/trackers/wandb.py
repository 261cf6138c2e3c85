"""Weights & Biases. WANDB_MODE=offline keeps everything in the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.trackers.tracker import TrackedRun

_STEP = "step"


class WandB:
    """A run of W&B; a resumed run continues it by its id."""

    imports = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        self.run, self._wandb = run, wandb
        self._live: Any = None

    def start(self, config: Mapping[str, Any]) -> str:
        self.run.folder.mkdir(parents=True, exist_ok=True)
        self._live = self._wandb.init(
            project=self.run.project,
            name=self.run.name,
            id=self.run.id,
            resume=None if self.run.id is None else "allow",
            config=dict(config),
            dir=str(self.run.folder),
        )
        # W&B's own count would drop an examination, which has the step of the line before it.
        self._live.define_metric(_STEP)
        self._live.define_metric("*", step_metric=_STEP, step_sync=True)
        return str(self._live.id)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._live.log({**metrics, _STEP: step})

    def finish(self) -> None:
        if self._live is not None:
            self._live.finish()
