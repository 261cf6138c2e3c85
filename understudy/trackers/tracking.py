"""The trackers of a run: started, told of each step once, and left out where they fail."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError
from understudy.plain import from_plain, to_plain
from understudy.registry import reason_of
from understudy.run import RunDirectory
from understudy.trackers import TRACKERS
from understudy.trackers.figures import figures, without_secrets
from understudy.trackers.settings import Tracked
from understudy.trackers.tracker import TrackedRun, Tracker


def check_trackers(names: Iterable[str]) -> None:
    """Refuse a tracker that cannot be used here. No library is imported."""
    for name in names:
        library = getattr(TRACKERS.load(name), "imports", None)
        if library is None or _is_installed(library):
            continue
        package = f"'understudy[{name}]'" if name in TRACKERS.known else library
        raise ConfigError(
            f"report_to={name}: {library} is not installed; pip install {package}, or leave it out"
        )


def _is_installed(library: str) -> bool:
    """A folder of that name, as W&B leaves where it ran, is no library."""
    found = find_spec(library.partition(".")[0])
    return found is not None and found.origin is not None


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a tracker was told of a run, or of one of its variants."""

    kind: str
    variant: str
    id: str | None = None  # None: not started
    step: int = -1
    examined: bool = False  # of that step's examination too


class Tracking:
    """What a run tells its trackers. A step that one was told of before, it is not told again: not
    even after a kill, from which the run goes on some steps earlier."""

    def __init__(self, settings: Tracked, run: RunDirectory, warn: Callable[[str], None]) -> None:
        self.settings, self.run, self.warn = settings, run, warn
        self._trackers: dict[str, Tracker] = {}
        self._marks: dict[tuple[str, str], Mark] = {}
        self._variant = ""

    def start(self, config: Mapping[str, Any], variant: str, must: bool) -> None:
        """must: whether one that cannot be started is refused, or left out with a warning."""
        if not self.settings.report_to:
            return
        self._variant, shown = variant, without_secrets(config)
        self._marks = {(each.kind, each.variant): each for each in _marks_of(self.run)}
        for name in self.settings.report_to:
            mark = self._marks.get((name, variant), Mark(name, variant))
            try:
                with redirect_stdout(sys.stderr):  # a result may be on its way to a pipe
                    tracker = TRACKERS.load(name)(self._told(name, mark))
                    known = tracker.start(shown)
                self._trackers[name] = tracker
                self._keep(replace(mark, id=known or ""))
            except Exception as error:  # a library, or a stranger's tracker, raises what it likes
                reason = f"report_to={name}: cannot be started ({reason_of(error)})"
                if must:
                    raise ConfigError(f"{reason}; leave it out to run without it") from error
                self._drop(name, reason)

    def past(self, lines: Iterable[Mapping[str, Any]]) -> int:
        """Tell what a log holds, in order; returns the number of lines, which is the last step."""
        count = 0
        for count, line in enumerate(lines, start=1):
            self.log(line, count)
        return count

    def log(self, line: Mapping[str, Any], step: int, examined: bool = False) -> None:
        """Tell each tracker, unless it knows. examined: an examination, which follows its step."""
        numbers = figures(line) if self._trackers else {}
        for name, tracker in list(self._trackers.items()):
            mark = self._marks[name, self._variant]
            if (step, examined) <= (mark.step, mark.examined):
                continue
            try:
                # First: after a kill in between a step is missing there, and none is there twice.
                self._keep(replace(mark, step=step, examined=examined))
                with redirect_stdout(sys.stderr):
                    tracker.log(numbers, step)
            except Exception as error:
                with suppress(OSError):
                    self._keep(mark)
                self._drop(name, f"report_to={name}: step {step} failed ({reason_of(error)})")

    def finish(self) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                with redirect_stdout(sys.stderr):
                    tracker.finish()
            except Exception as error:
                self._drop(name, f"report_to={name}: its end failed ({reason_of(error)})")
        self._trackers.clear()

    def _drop(self, name: str, reason: str) -> None:
        self._trackers.pop(name, None)
        self.warn(f"{reason}; the run goes on without it")

    def _told(self, name: str, mark: Mark) -> TrackedRun:
        own = Path(name.rpartition(":")[0]).stem if ":" in name else name
        folder, called = self.run.trackers / own, self.settings.run_name or self._named()
        if self._variant:
            folder, called = folder / _as_file(self._variant), f"{called}, {self._variant}"
        return TrackedRun(self.settings.project, called, folder, mark.id)

    def _named(self) -> str:
        return self.run.path.absolute().name

    def _keep(self, mark: Mark) -> None:
        self._marks[mark.kind, mark.variant] = mark
        self.run.trackers.mkdir(exist_ok=True)
        self.run.write(_file(self.run), [to_plain(each) for each in self._marks.values()])


@contextmanager
def tracked(
    settings: Tracked,
    run: RunDirectory,
    config: Mapping[str, Any],
    warn: Callable[[str], None],
    must: bool,
    variant: str = "",
) -> Iterator[Tracking]:
    """The trackers of a run, or of one of its variants, while it lasts; see `Tracking.start`."""
    tracking = Tracking(settings, run, warn)
    try:
        tracking.start(config, variant, must)
        yield tracking
    finally:
        tracking.finish()


def _file(run: RunDirectory) -> Path:
    return run.trackers / "told.json"


def _marks_of(run: RunDirectory) -> list[Mark]:
    file = _file(run)
    return from_plain(list[Mark], run.read(file), file) if file.exists() else []


def _as_file(name: str) -> str:
    """A variant's name as a folder's."""
    return "".join(each if each.isalnum() or each in " ,.-+=" else "_" for each in name)
