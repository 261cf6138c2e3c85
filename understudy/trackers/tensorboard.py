"""TensorBoard: `tensorboard --logdir RUN`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from understudy.trackers.tracker import TrackedRun


class TensorBoard:
    """Event files in the run directory; a resumed run adds one."""

    imports = "tensorboard"

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.run = run
        self._writer: Any = SummaryWriter(str(run.folder))

    def start(self, config: Mapping[str, Any]) -> None:
        if self.run.id is None:
            shown = yaml.safe_dump(dict(config), sort_keys=False)
            self._writer.add_text("config", f"```\n{shown}```", 0)
        self._writer.flush()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # what is told is there, also after a kill

    def finish(self) -> None:
        self._writer.close()
