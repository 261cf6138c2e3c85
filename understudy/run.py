"""A run directory: settings, metrics, matrix, summary, checkpoints. Written whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError

from understudy.environment import environment
from understudy.errors import CheckpointError, RunError
from understudy.files import flush_to_disk, write_folder, write_json, write_text
from understudy.given import load_yaml

_KEPT = 2  # checkpoints; the older ones go once a newer one is whole


class RunDirectory:
    """The files of one run, by name. It knows their form, not their meaning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"  # as the run was started
        self.metrics = path / "metrics.jsonl"
        self.timings = path / "timings.jsonl"  # apart: everything else repeats bit for bit
        self.data_sets = path / "data_sets.json"  # how their questions are asked
        self.matrix = path / "matrix.json"
        self.summary = path / "summary.json"
        self.report = path / "report.html"
        self.replies = path / "replies.jsonl"  # what crossed the link, paid for once
        self.examination_replies = path / "examination_replies.jsonl"
        self.examinations = path / "examinations"  # a file of examined questions for each
        self.checkpoints = path / "checkpoints"
        self.adapters = path / "adapters"  # one per phase, where adapters are trained
        self.trackers = path / "trackers"  # what they were told, and what they keep
        self._lock = path / ".lock"

    @classmethod
    def create(cls, path: Path, settings: dict[str, Any]) -> RunDirectory:
        """A new run in a new or empty folder, or in that of a run that ended before its first step.

        Any other folder is refused.
        """
        run = cls(path)
        try:
            if path.exists() and not path.is_dir():
                raise RunError(f"{path} is a file; give a new --out")
            if run._is_failed_start():
                run._clear(settings)
            elif run.config.exists():
                raise RunError(
                    f"{path} already holds another run; give a new --out, "
                    "or --resume to continue it"
                )
            elif path.exists() and any(path.iterdir()):
                raise RunError(f"{path} already holds other files; give a new --out")
            path.mkdir(parents=True, exist_ok=True)
            # The settings first: what is there can then be resumed, whatever fails next.
            write_text(run.config, yaml.safe_dump(settings, sort_keys=False))
            write_json(run.environment, environment())
        except OSError as error:
            raise RunError(f"{path}: cannot be written ({error.strerror})") from error
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        run = cls(path)
        if not os.path.isfile(run.config):  # false, too, for a path that cannot be looked up
            raise RunError(f"{path}: no run there (config.yaml is missing)")
        return run

    def _is_failed_start(self) -> bool:
        """Whether a run began here and ended before its first step: only its first files exist."""
        if not (self.config.is_file() and self.environment.is_file()):
            return False
        own = {self.config, self.environment, self.metrics, self.timings, self.matrix, self._lock}
        own |= {
            self.data_sets,
            self.replies,
            self.examination_replies,
            self.examinations,
            self.checkpoints,
            self.trackers,
        }
        others = {found for found in self.path.iterdir() if not found.name.endswith(".part")} - own
        started = self.metrics.exists() and self.metrics.stat().st_size > 0
        return not (others or started or self.has_checkpoint())

    def _clear(self, settings: dict[str, Any]) -> None:
        """Remove what a failed start left; replies of the same cloud are paid for and stay."""
        with self.held():
            try:
                same_cloud = self.settings().get("cloud") == settings.get("cloud")
            except RunError:
                same_cloud = False
            kept = {self._lock}
            if same_cloud:
                kept |= {self.replies, self.examination_replies}
            for found in set(self.path.iterdir()) - kept:
                shutil.rmtree(found) if found.is_dir() else found.unlink()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process from writing to this run."""
        try:
            file = self._lock.open("w")
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written ({error.strerror})") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.path}: another process is writing this run; wait for it or end it"
                ) from None
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What goes wrong with the disk, in one line."""
        try:
            yield
        except (OSError, SafetensorError) as error:  # safetensors has an error of its own for both
            reason = getattr(error, "strerror", None) or error
            raise RunError(
                f"{self.path}: writing failed ({reason}); "
                "make room and continue with --resume, nothing finished is lost"
            ) from error

    def settings(self) -> dict[str, Any]:
        try:
            content = load_yaml(self.config.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RunError(f"{self.config}: cannot be read ({error})".replace("\n", " ")) from error
        if not isinstance(content, dict):
            raise RunError(f"{self.config}: is no mapping of settings")
        return content

    def keep_settings(self, settings: dict[str, Any]) -> None:
        """Write others than are there."""
        if self.settings() != settings:
            write_text(self.config, yaml.safe_dump(settings, sort_keys=False))

    def append(self, metrics: dict[str, Any], timings: dict[str, Any]) -> None:
        for path, line in ((self.metrics, metrics), (self.timings, timings)):
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def rewind(self, steps: int, examinations: int = 0) -> None:
        """Remove the lines after `steps`, and all but the first so many examinations: the run
        continues from a checkpoint there.

        Where lines before it are missing, nothing is changed.
        """
        known = len(_json_lines(self.metrics, steps)) if self.metrics.exists() else 0
        if known < steps:
            raise RunError(
                f"{self.metrics} holds {known} steps, but the checkpoint was saved after step "
                f"{steps}; restore the file, or start a new run"
            )
        for path in (self.metrics, self.timings):
            lines = path.read_text().splitlines(keepends=True) if path.exists() else []
            write_text(path, "".join(lines[:steps]))
        for path in self.examinations.glob("phase-*.jsonl"):
            if int(path.stem.partition("-")[2]) >= examinations:
                path.unlink()
        for path in (self.summary, self.report):
            path.unlink(missing_ok=True)

    def metric_lines(self) -> list[dict[str, Any]]:
        return _json_lines(self.metrics)

    def timing_lines(self) -> list[dict[str, Any]]:
        return _json_lines(self.timings)

    def write_examination(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        self.examinations.mkdir(exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_text(self.examinations / f"{name}.jsonl", lines)

    def read_examination(self, name: str) -> list[dict[str, Any]]:
        return _json_lines(self.examinations / f"{name}.jsonl")

    def read(self, path: Path) -> Any:
        if not path.exists():
            raise RunError(
                f"{self.path}: the run is not finished ({path.name} is missing); "
                "continue it with --resume"
            )
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path}: cannot be read ({error}); finish the run with --resume"
            ) from error

    def write(self, path: Path, content: Any) -> None:
        write_json(path, content)

    def save_checkpoint(self, step: int, fill: Callable[[Path], None]) -> None:
        """A whole checkpoint, its metrics lines on disk before it."""
        for path in (self.metrics, self.timings):
            if path.exists():
                flush_to_disk(path)
        write_folder(self.checkpoints / f"step-{step:06d}", fill)
        for old in self._saved()[:-_KEPT]:
            shutil.rmtree(old)

    def has_checkpoint(self) -> bool:
        return bool(self._saved())

    def last_checkpoint(self) -> Path:
        saved = self._saved()
        if not saved:
            raise CheckpointError(f"{self.path}: no checkpoint yet; start the run anew")
        return saved[-1]

    def _saved(self) -> list[Path]:
        """By their steps as numbers: as text, the millionth would come before all others."""
        steps = {path: path.name.removeprefix("step-") for path in self.checkpoints.glob("step-*")}
        found = (path for path, step in steps.items() if step.isdecimal())
        return sorted(found, key=lambda path: int(steps[path]))


def _json_lines(path: Path, first: int | None = None) -> list[dict[str, Any]]:
    """All lines, or only the first ones."""
    try:
        return [json.loads(line) for line in path.read_text().splitlines()[:first]]
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error
