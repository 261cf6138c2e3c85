"""MLflow: the store that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.trackers.figures import flat
from understudy.trackers.tracker import TrackedRun

_AT_ONCE = 100  # of a batch, as MLflow bounds it
_LONGEST = 500  # characters of a parameter that every store takes
_NOT_IN_NAMES = re.compile(r"[^\w\-. /]")


class MLflow:
    """A run of MLflow, in the experiment of the project's name; resumed, it continues by its id."""

    imports = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient, entities

        self.run, self._entities = run, entities
        self._client: Any = MlflowClient()
        self._id = ""

    def start(self, config: Mapping[str, Any]) -> str:
        if self.run.id is not None:
            self._id = self.run.id
            self._client.update_run(self._id, status="RUNNING")
            return self._id
        found = self._client.get_experiment_by_name(self.run.project)
        experiment = found and found.experiment_id
        experiment = experiment or self._client.create_experiment(self.run.project)
        self._id = self._client.create_run(experiment, run_name=self.run.name).info.run_id
        given = [
            self._entities.Param(_named(key), str(value)[:_LONGEST])
            for key, value in flat(config).items()
        ]
        for part in _parts(given):
            self._client.log_batch(self._id, params=part)
        return self._id

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        told = [
            self._entities.Metric(_named(key), value, now, step) for key, value in metrics.items()
        ]
        for part in _parts(told):
            self._client.log_batch(self._id, metrics=part)

    def finish(self) -> None:
        if self._id:
            self._client.set_terminated(self._id)


def _named(key: str) -> str:
    """A key in the letters that MLflow allows."""
    return _NOT_IN_NAMES.sub("_", key)


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), _AT_ONCE):
        yield items[first : first + _AT_ONCE]
