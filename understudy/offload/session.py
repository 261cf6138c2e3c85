"""One run from the first file to the last: start or resume, train, sum up."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError

from understudy.config import Config, check_config, differences
from understudy.errors import ConfigError, RunError
from understudy.models.policy import Policy
from understudy.offload.alarms import Alarms
from understudy.offload.loop import ends, train
from understudy.offload.method import Method
from understudy.offload.start import build_cloud, start
from understudy.offload.state import State, load_state, save_state
from understudy.offload.summary import summarise
from understudy.run import RunDirectory
from understudy.tasks.stream import load_stream


class Display(Protocol):
    """Who shows a person how the run goes."""

    def step(self, metrics: dict[str, Any], seconds_left: float) -> None: ...

    def evaluation(self, row: dict[str, Any]) -> None: ...

    def warning(self, text: str) -> None: ...


def settled(config: Config) -> Config:
    """The settings with the stream written out: enough to repeat the run anywhere."""
    phases = load_stream(config.stream)
    if config.steps is not None:
        phases = [phase.model_copy(update={"steps": config.steps}) for phase in phases]
    stream = [phase.model_dump(mode="json", exclude_none=True) for phase in phases]
    return config.model_copy(update={"stream": stream})


def total_steps(config: Config) -> int:
    return ends(load_stream(settled(config).stream))[-1]


def new_run(path: Path, config: Config, method: Method, display: Display) -> RunDirectory:
    config = settled(config)
    state = start(config, method)  # bad settings fail before anything is written
    run = RunDirectory.create(path, config.model_dump(mode="json"))
    with run.held():
        return _go(run, state, config, method, display)


def resume_run(run: RunDirectory, config: Config, method: Method, display: Display) -> RunDirectory:
    """Continue from the last whole checkpoint; a finished run ends with the same results."""
    with run.held():
        if run.has_checkpoint():
            saved = run.last_checkpoint()
            state = start(config.model_copy(update={"model": str(saved)}), method)
            state = load_state(state, saved, build_cloud(config.cloud))
        else:  # it was interrupted before its first
            state = start(config, method)
        return _go(run, state, config, method, display)


def saved_config(run: RunDirectory) -> Config:
    return check_config(run.settings())


def check_same(run: RunDirectory, asked: Config) -> Config:
    """The run's own settings, if those asked for are the same."""
    kept = saved_config(run)
    for key, was, wanted in differences(kept, settled(asked)):
        raise ConfigError(
            f"{key}={wanted}, but {run.path} has {was}; "
            "resume it without that setting, or give a new --out"
        )
    return kept


def trained_policy(run: RunDirectory, config: Config) -> tuple[Policy, Path]:
    """The newest model of a run, and its checkpoint's folder."""
    folder = run.last_checkpoint()
    return Policy.load(str(folder), config.device, config.bf16), folder


def _go(
    run: RunDirectory, state: State, config: Config, method: Method, display: Display
) -> RunDirectory:
    stream = load_stream(config.stream)
    recorder = _Recorder(run, display, ends(stream)[-1], method.serving != "random")
    try:
        run.rewind(state.step)
        recorder.recall(state)

        def save(state: State) -> None:
            run.save_checkpoint(state.step, lambda folder: save_state(state, folder))
            # The tokenizer is copied on from the newest: the checkpoint resumed from goes in time.
            state.policy = replace(state.policy, folder=run.last_checkpoint())

        state = train(state, method, stream, config, recorder, save)
        run.write(run.matrix, state.matrix)
        run.write(
            run.summary, summarise(run.metric_lines(), state.matrix, state.cloud, state.examiner)
        )
    except (OSError, SafetensorError) as error:  # safetensors has an error of its own for both
        reason = getattr(error, "strerror", None) or error
        raise RunError(
            f"{run.path}: writing failed ({reason}); "
            "make room and continue with --resume, nothing finished is lost"
        ) from error
    return run


class _Recorder:
    """Writes the run directory, and tells the display."""

    def __init__(self, run: RunDirectory, display: Display, steps: int, asks: bool) -> None:
        self.run, self.display, self.steps = run, display, steps
        self.alarms = Alarms(asks)
        self.matrix: list[dict[str, Any]] = []
        self.started, self.done = time.monotonic(), 0

    def recall(self, state: State) -> None:
        """Take up a resumed run where it stood: what was said is not said again."""
        self.matrix = list(state.matrix)
        if state.step:
            for line in self.run.metric_lines():
                self.alarms.hear(line)

    def on_step(self, metrics: dict[str, Any], timings: dict[str, Any]) -> None:
        self.run.append(metrics, timings)
        self.done += 1
        pace = (time.monotonic() - self.started) / self.done
        self.display.step(metrics, pace * (self.steps - metrics["step"]))
        for text in self.alarms.hear(metrics):
            self.display.warning(text)

    def on_evaluation(self, row: dict[str, Any]) -> None:
        self.matrix.append(row)
        self.run.write(self.run.matrix, self.matrix)
        self.display.evaluation(row)
