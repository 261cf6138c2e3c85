"""One run of agents from the first file to the last: its variants one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from understudy.actors.crew import Crew
from understudy.actors.crews import crew_of
from understudy.actors.loop import run as run_all
from understudy.actors.saved import load_states, save_states
from understudy.actors.variants import FREE, saved_settings
from understudy.files import write_json
from understudy.link.carrier import Carrier
from understudy.plain import from_plain, to_plain
from understudy.progress import task
from understudy.run import RunDirectory
from understudy.settings import check_unchanged
from understudy.share.clock import moments_of
from understudy.share.population import Agents, carriers_of
from understudy.share.records import Examination, PopulationResult
from understudy.share.settings import ShareConfig
from understudy.share.summary import population_result, seen_mean, summarise
from understudy.share.variants import ShareRun, variants_of
from understudy.trackers.tracking import Tracking, check_trackers, tracked

_PROGRESS, _STATES = "progress.json", "states.safetensors"


class Display(Protocol):
    """Shows a person how a run proceeds."""

    def round(
        self,
        variant: str,
        number: int,
        words: str,
        accuracies: list[float],
        floats: int,
        seconds_left: float,
    ) -> None: ...

    def finished(self, variant: str, accuracy: float) -> None: ...

    def warning(self, text: str) -> None: ...


@dataclass(slots=True)
class Progress:
    """How far a run is: what is finished, and where in the variant after that it stands."""

    records: dict[str, list[PopulationResult]] = field(default_factory=dict)
    moment: int = 0  # of the variant that is not finished
    points: int = 0  # examinations that are in the log, of that variant
    lines: int = 0  # in the log, of all
    done: int = 0  # moments, of all


def run_share(path: Path, config: ShareRun, display: Display, resume: bool) -> RunDirectory:
    """A new run, or one that is there continued, under settings that give the same numbers."""
    if not resume:
        return new_share(path, config, display)
    run = RunDirectory.open(path)
    return resume_share(run, check_same(run, config), display)


def new_share(path: Path, config: ShareRun, display: Display) -> RunDirectory:
    session = _Session(config, display)  # bad settings fail before anything is written
    run = RunDirectory.create(path, config.model_dump(mode="json"))
    with run.held():
        session.go(run)
    return run


def resume_share(run: RunDirectory, config: ShareRun, display: Display) -> RunDirectory:
    """Continue from the last whole checkpoint; a finished run ends with the same results."""
    session = _Session(config, display)
    with run.held():
        session.go(run, run.last_checkpoint() if run.has_checkpoint() else None)
    return run


def check_same(run: RunDirectory, asked: ShareRun) -> ShareRun:
    """The settings asked for, if they give the same numbers as the run's own."""
    check_unchanged(saved_settings(ShareRun, run), asked, run.path, FREE)
    return asked


class _Session:
    """A run under way."""

    def __init__(self, config: ShareRun, display: Display) -> None:
        check_trackers(config.report_to)
        torch.set_num_threads(1)  # more would add in another order
        self.config, self.display = config, display
        self.variants = variants_of(config)
        loaded: dict[str, Any] = {}
        self.factories = {name: Agents(each, loaded=loaded) for name, each in self.variants.items()}
        with task("reading data", len(self.factories)) as advance:
            for factory in self.factories.values():
                factory.check()
                advance(1)
        self.moments = {name: moments_of(each) for name, each in self.variants.items()}
        self.started = time.monotonic()
        self.progress = Progress()

    def go(self, run: RunDirectory, checkpoint: Path | None = None) -> None:
        states = None
        if checkpoint is not None:
            self.progress = from_plain(Progress, run.read(checkpoint / _PROGRESS), checkpoint)
            if (checkpoint / _STATES).exists():
                states = load_states(checkpoint / _STATES)
        self.begun = self.progress.done
        with run.writing():
            run.rewind(self.progress.lines)
        for name, config in self.variants.items():
            if name not in self.progress.records:
                self._variant(run, name, config, states)
                states = None
        with run.writing():
            summary = summarise(self.variants, self.progress.records)
            run.write(run.summary, to_plain(summary))

    def _variant(
        self, run: RunDirectory, name: str, config: ShareConfig, states: Mapping[str, Any] | None
    ) -> None:
        started = time.monotonic()
        carriers = carriers_of(config)
        if states is not None:
            for carrier, state in zip(carriers, states["carriers"], strict=True):
                carrier.restore(state)
        agents = None if states is None else states["agents"]
        with task(f"beginning {name}"):
            begun = crew_of(self.factories[name], self.config.workers, agents)
        with closing(begun) as crew, self._tracked(run, name) as tracking:
            recorder = _Recorder(self, run, name, config, crew, carriers, started, tracking)
            recorder.log()  # what was learnt before anything could be sent
            moments, first = self.moments[name], self.progress.moment
            with task(f"rounds of {name}", len(moments) - first) as advance:

                def watch(now: int) -> None:
                    recorder.watch(now)
                    advance(1)

                run_all(crew, carriers, moments, watch, first)
            records = [
                population_result(*each)
                for each in zip(config.seeds, crew.reports(), crew.logs(), carriers, strict=True)
            ]
        progress = self.progress
        progress.records[name], progress.moment, progress.points = records, 0, 0
        self.save(run)
        found = [agent.accuracy for seed in records for agent in seed.agents]
        known = [accuracy for accuracy in found if accuracy is not None]
        self.display.finished(name, sum(known) / len(known) if known else math.nan)

    def _tracked(self, run: RunDirectory, name: str) -> AbstractContextManager[Tracking]:
        """A variant has a run of its own in trackers, so that its steps begin at 1."""
        variant = name if self.config.variants else ""
        settings = self.config.model_dump(mode="json")
        is_new = self.progress.done == 0
        return tracked(self.config, run, settings, self.display.warning, is_new, variant)

    def save(self, run: RunDirectory, states: Mapping[str, Any] | None = None) -> None:
        def fill(folder: Path) -> None:
            write_json(folder / _PROGRESS, to_plain(self.progress))
            if states is not None:
                save_states(folder / _STATES, states)

        with run.writing():
            run.save_checkpoint(self.progress.done, fill)

    def seconds_left(self) -> float:
        """Not a number before anything is done."""
        whole = sum(len(moments) for moments in self.moments.values())
        done = self.progress.done - self.begun
        each = (time.monotonic() - self.started) / done if done else math.nan
        return each * (whole - self.progress.done)


class _Recorder:
    """Writes one variant's log and checkpoints, and passes its figures to the display."""

    def __init__(
        self,
        session: _Session,
        run: RunDirectory,
        name: str,
        config: ShareConfig,
        crew: Crew,
        carriers: list[Carrier],
        started: float,
        tracking: Tracking,
    ) -> None:
        self.session, self.run, self.name, self.config = session, run, name, config
        self.crew, self.carriers, self.tracking = crew, carriers, tracking
        self.tracking.past(line for line in run.metric_lines() if line["variant"] == name)
        self.saved, self.lap = time.monotonic(), started

    def watch(self, now: int) -> None:
        progress = self.session.progress
        progress.moment, progress.done = now + 1, progress.done + 1
        self.log()
        if time.monotonic() - self.saved >= self.session.config.checkpoint_seconds:
            states = {
                "agents": self.crew.states(),
                "carriers": [carrier.state() for carrier in self.carriers],
            }
            self.session.save(self.run, states)
            self.saved = time.monotonic()

    def log(self) -> None:
        """The examinations that every agent has behind it, and that are not in the log."""
        there = min(len(curve) for row in self.crew.logs() for curve in row)
        for number in range(self.session.progress.points, there):
            self._log(number)

    def _log(self, number: int) -> None:
        progress = self.session.progress
        points = [[curve[number] for curve in row] for row in self.crew.logs()]
        task, epoch, _ = points[0][0]
        means = [[seen_mean(accuracy) for _, _, accuracy in row] for row in points]
        totals = [carrier.totals() for carrier in self.carriers]
        floats = [sum(total.floats.values()) for total in totals]
        line = Examination(
            step=progress.lines + 1,
            variant=self.name,
            task=task,
            epoch=epoch,
            accuracy=means,
            current=[[accuracy[task] for _, _, accuracy in row] for row in points],
            floats=floats,
            bytes=[sum(total.bytes.values()) for total in totals],
        )
        lap, self.lap = self.lap, time.monotonic()
        written = to_plain(line)
        with self.run.writing():
            self.run.append(written, {"step": line.step, "step_time": self.lap - lap})
        self.tracking.log(written, number + 1)
        progress.points, progress.lines = number + 1, progress.lines + 1
        by_agent = [sum(each) / len(each) for each in zip(*means, strict=True)]
        self.session.display.round(
            self.name,
            progress.done,
            f"task {task + 1}/{self.config.tasks}, epoch {epoch}/{self.config.epochs}",
            by_agent,
            round(sum(floats) / len(floats)),
            self.session.seconds_left(),
        )
