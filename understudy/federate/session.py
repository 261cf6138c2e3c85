"""One run of a federation from the first file to the last: its variants one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from understudy.actors.crews import crew_of
from understudy.actors.loop import run as run_all
from understudy.actors.saved import load_states, save_states
from understudy.actors.variants import FREE, saved_settings
from understudy.federate.clock import moments_of
from understudy.federate.population import Federation, carriers_of
from understudy.federate.recording import Display, Recorder
from understudy.federate.records import FederationResult
from understudy.federate.settings import FederateConfig
from understudy.federate.summary import federation_result, summarise
from understudy.federate.variants import FederateRun, variants_of
from understudy.files import write_json
from understudy.plain import from_plain, to_plain
from understudy.progress import task
from understudy.run import RunDirectory
from understudy.settings import check_unchanged
from understudy.trackers.tracking import Tracking, check_trackers, tracked

_PROGRESS, _STATES = "progress.json", "states.safetensors"


@dataclass(slots=True)
class Progress:
    """How far a run is: what is finished, and where in the variant after that it stands."""

    results: dict[str, list[FederationResult]] = field(default_factory=dict)
    moment: int = 0  # of the variant that is not finished
    lines: int = 0  # in the log, of all
    done: int = 0  # moments, of all


def run_federation(path: Path, config: FederateRun, display: Display, resume: bool) -> RunDirectory:
    """A new run, or one that is there continued, under settings that give the same numbers."""
    if not resume:
        return new_federation(path, config, display)
    run = RunDirectory.open(path)
    return resume_federation(run, check_same(run, config), display)


def new_federation(path: Path, config: FederateRun, display: Display) -> RunDirectory:
    session = _Session(config, display)  # bad settings fail before anything is written
    run = RunDirectory.create(path, config.model_dump(mode="json"))
    with run.held():
        session.go(run)
    return run


def resume_federation(run: RunDirectory, config: FederateRun, display: Display) -> RunDirectory:
    """Continue from the last whole checkpoint; a finished run ends with the same results."""
    session = _Session(config, display)
    with run.held():
        session.go(run, run.last_checkpoint() if run.has_checkpoint() else None)
    return run


def check_same(run: RunDirectory, asked: FederateRun) -> FederateRun:
    """The settings asked for, if they give the same numbers as the run's own."""
    check_unchanged(saved_settings(FederateRun, run), asked, run.path, FREE)
    return asked


class _Session:
    """A run under way."""

    def __init__(self, config: FederateRun, display: Display) -> None:
        check_trackers(config.report_to)
        torch.set_num_threads(1)  # more would add in another order
        self.config, self.display = config, display
        self.variants = variants_of(config)
        loaded: dict[str, Any] = {}
        self.factories = {
            name: Federation(each, loaded=loaded) for name, each in self.variants.items()
        }
        with task("reading data and the foundation", len(self.factories)) as advance:
            for factory in self.factories.values():
                factory.check()
                advance(1)
        self.moments = {name: moments_of(each) for name, each in self.variants.items()}
        self.progress = Progress()

    def go(self, run: RunDirectory, checkpoint: Path | None = None) -> None:
        states = None
        if checkpoint is not None:
            self.progress = from_plain(Progress, run.read(checkpoint / _PROGRESS), checkpoint)
            if (checkpoint / _STATES).exists():
                states = load_states(checkpoint / _STATES)
        self.started, self.begun = time.monotonic(), self.progress.done
        with run.writing():
            run.rewind(self.progress.lines)
        for name, config in self.variants.items():
            if name not in self.progress.results:
                self._variant(run, name, config, states)
                states = None
        with run.writing():
            summary = summarise(self.variants, self.progress.results)
            run.write(run.summary, to_plain(summary))

    def _variant(
        self, run: RunDirectory, name: str, config: FederateConfig, states: Mapping[str, Any] | None
    ) -> None:
        carriers = carriers_of(config)
        if states is not None:
            for carrier, state in zip(carriers, states["carriers"], strict=True):
                carrier.restore(state)
        actors, progress = None if states is None else states["actors"], self.progress
        with task(f"preparing the clients of {name}"):
            begun = crew_of(
                self.factories[name], self.config.workers, actors, self.factories[name].servers
            )
        with closing(begun) as crew, self._tracked(run, name) as tracking:
            recorder = Recorder(run, name, config, crew, carriers, self.display, tracking)
            saved, moments = time.monotonic(), self.moments[name]
            with task(f"moments of {name}", len(moments) - progress.moment) as advance:

                def watch(now: int) -> None:
                    nonlocal saved
                    progress.moment, progress.done = now + 1, progress.done + 1
                    progress.lines = recorder.log(progress.lines, moments[now], self._time())
                    if time.monotonic() - saved >= self.config.checkpoint_seconds:
                        kept = [carrier.state() for carrier in carriers]
                        self.save(run, {"actors": crew.states(), "carriers": kept})
                        saved = time.monotonic()
                    advance(1)

                run_all(crew, carriers, moments, watch, progress.moment)
            progress.results[name] = [
                federation_result(config, *each)
                for each in zip(config.seeds, crew.reports(), crew.logs(), carriers, strict=True)
            ]
        progress.moment = 0
        self.save(run)
        self.display.finished(name, [result.clients for result in progress.results[name]])

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

    def _time(self) -> tuple[int, float]:
        """(moments done, of all variants; seconds left)."""
        whole = sum(len(moments) for moments in self.moments.values())
        done = self.progress.done
        each = (time.monotonic() - self.started) / max(1, done - self.begun)
        return done, each * (whole - done)
