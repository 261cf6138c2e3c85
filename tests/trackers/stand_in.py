"""Trackers of a test's own, named by this file's path as a stranger's are. They write down what
they are told, in the folder that they are given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.trackers.tracker import TrackedRun

HERE = Path(__file__)


class Remembers:
    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        run.folder.mkdir(parents=True, exist_ok=True)

    def _write(self, event: str, **content: Any) -> None:
        with (self.run.folder / "events.jsonl").open("a") as file:
            file.write(json.dumps({"event": event, **content}) + "\n")

    def start(self, config: Mapping[str, Any]) -> str:
        print("a library that is talkative")
        self._write("start", config=dict(config), name=self.run.name, id=self.run.id)
        return f"{self.run.project}-7"

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._write("log", step=step, metrics=dict(metrics))

    def finish(self) -> None:
        self._write("finish")


class Fails(Remembers):
    """When it is told of the second step."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        if step == 2:
            raise ConnectionError("the server has gone")
        super().log(metrics, step)


class NotStarting(Remembers):
    def start(self, config: Mapping[str, Any]) -> str:
        raise PermissionError("nobody is logged in")


class NotInstalled(Remembers):
    imports = "a_library_that_nobody_has"


class Unfinished(Remembers):
    def finish(self) -> None:
        raise TimeoutError("not everything was sent")


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def told(folder: Path) -> list[tuple[int, set[str]]]:
    """(step, keys) of everything that was logged."""
    return [(each["step"], set(each["metrics"])) for each in events(folder) if "metrics" in each]
