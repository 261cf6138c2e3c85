"""One run from the first file to the last: start or resume, train, sum up."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from understudy.clouds.building import build_budget
from understudy.clouds.check import check_cloud
from understudy.clouds.failures import FailureWatch
from understudy.clouds.metered import MeteredCloud
from understudy.files import write_folder
from understudy.link import ReplyLog
from understudy.models.policy import Policy
from understudy.offload.alarms import Alarms, examination_alarms
from understudy.offload.config import Config
from understudy.offload.helpers import Helpers
from understudy.offload.loop import train
from understudy.offload.method import Method
from understudy.offload.phases import ends, phases_of, total_steps
from understudy.offload.records import MatrixRow, examination_metrics, examination_name
from understudy.offload.settled import choices_text, settled
from understudy.offload.start import load_policy, start
from understudy.offload.state import State, load_state, save_state
from understudy.offload.steps import StepMetrics, StepTimings, read_steps
from understudy.offload.summary import summarise
from understudy.offload.team import ALONE, Team
from understudy.plain import to_plain
from understudy.routing.rows import ExaminedQuestion
from understudy.run import RunDirectory
from understudy.tasks.asked import asked_record
from understudy.tasks.stream import Phase
from understudy.trackers.tracking import Tracking, check_trackers, tracked
from understudy.types import Question, Reply


class Display(Protocol):
    """Shows a person how a run proceeds."""

    def step(self, metrics: StepMetrics, seconds_left: float) -> None: ...

    def evaluation(self, row: MatrixRow) -> None: ...

    def note(self, text: str) -> None: ...

    def warning(self, text: str) -> None: ...


def new_run(
    path: Path,
    config: Config,
    method: Method,
    display: Display,
    team: Team = ALONE,
    check: bool = True,
    asked: Config | None = None,
) -> RunDirectory:
    """check: whether the cloud is tried with one question before anything long; asked: the
    settings before what they leave open was chosen, if that is done already; config then is
    complete."""
    if asked is None:
        asked, config = config, team.from_leader(lambda: settled(config))
    # Wrong settings, and a cloud that does not answer, fail before anything is written.
    check_trackers(config.report_to)
    state, helpers = team.together(lambda: start(config, method, team))
    trial = team.together(
        lambda: _trial(helpers, config, display) if check and team.leads else None
    )
    settings = config.model_dump(mode="json")
    run = RunDirectory(team.from_leader(lambda: RunDirectory.create(path, settings).path))
    if not team.leads:
        _follow(state, helpers, config)
        return run
    if text := choices_text(asked, config):
        display.note(text)
    with run.held():
        helpers = _logged(helpers, run, config, display)
        if trial is not None:
            helpers.examiner.adopt(*trial)
        return _go(run, state, helpers, config, display)


def resume_run(
    run: RunDirectory,
    config: Config,
    method: Method,
    display: Display,
    team: Team = ALONE,
    check: bool = True,
) -> RunDirectory:
    """Continue from the last whole checkpoint; a finished run ends with the same results."""
    check_trackers(config.report_to)
    saved = run.last_checkpoint() if run.has_checkpoint() else None  # None: killed before its first
    state, helpers = team.together(lambda: start(config, method, team, saved))
    if not team.leads:
        if saved:
            state, helpers = load_state(state, helpers, saved)
        team.together(lambda: None)  # the first process may try the cloud
        _follow(state, helpers, config)
        return run
    with run.held():
        with run.writing():  # caps may be others than before
            run.keep_settings(config.model_dump(mode="json"))
        helpers = _logged(helpers, run, config, display)
        if saved:
            state, helpers = load_state(state, helpers, saved)
        check = check and state.step < total_steps(config)
        trial = team.together(lambda: _trial(helpers, config, display) if check else None)
        if trial is not None:
            helpers.examiner.adopt(*trial)
        return _go(run, state, helpers, config, display)


def _trial(helpers: Helpers, config: Config, display: Display) -> tuple[Question, Reply] | None:
    """The first question of the first examination, answered: the cloud is there."""
    if not config.cloud.checked:
        return None
    test = helpers.tasks.exam(phases_of(config)[0], config.eval_queries, "test", str(config.seed))
    question = test[0].question
    budget = helpers.examiner.budget or build_budget(config.cloud)
    reply = check_cloud(helpers.examiner.cloud, question, display.warning, budget)
    return None if reply is None else (question, reply)


def _logged(helpers: Helpers, run: RunDirectory, config: Config, display: Display) -> Helpers:
    """With every reply on record: what was paid for before a kill is not paid again.
    Training and examinations share the caps of the run, and the watch over failed calls."""
    cloud = helpers.cloud.cloud
    logs = [ReplyLog(run.replies), ReplyLog(run.examination_replies)]
    budget = build_budget(config.cloud, logs)
    most, stops = config.cloud.max_failed_share, config.cloud.at_cap == "stop"
    watch = FailureWatch(cloud, most, display.warning, stops_at_cap=stops)
    training, examiner = (MeteredCloud(cloud, None, log, budget, watch) for log in logs)
    return replace(helpers, cloud=training, examiner=examiner)


def trained_policy(run: RunDirectory, config: Config) -> tuple[Policy, Path]:
    """The newest model of a run, and its checkpoint's folder."""
    folder = run.last_checkpoint()
    return load_policy(config, str(folder)), folder


def _go(
    run: RunDirectory, state: State, helpers: Helpers, config: Config, display: Display
) -> RunDirectory:
    stream = phases_of(config)
    asks = math.isfinite(state.method.start().shift)
    forms = {phase.name: helpers.tasks.form(phase) for phase in stream}
    settings, is_new = config.model_dump(mode="json"), not state.matrix
    with (
        closing(helpers),
        tracked(config, run, settings, display.warning, must=is_new) as tracking,
    ):
        recorder = _Recorder(run, display, ends(stream)[-1], Alarms(asks, forms), stream, tracking)
        with run.writing():
            run.rewind(state.step, len(state.matrix))
            run.write(run.data_sets, asked_record(helpers.tasks))
            recorder.recall(state)

        def save(state: State) -> None:
            with run.writing():
                # One adapter per phase is kept: first, for a resumed run looks forward only.
                if state.policy.lora and state.step in ends(stream):
                    number = ends(stream).index(state.step) + 1
                    write_folder(run.adapters / f"phase-{number}", state.policy.save)
                run.save_checkpoint(state.step, lambda folder: save_state(state, helpers, folder))
                if not state.policy.lora:
                    # The tokenizer is copied on from the newest: the one resumed from goes in time.
                    state.policy = replace(state.policy, folder=run.last_checkpoint())

        state = train(state, helpers, stream, config, recorder, save)
        with run.writing():
            run.write(run.matrix, [row.to_json() for row in state.matrix])
            bills = helpers.cloud.spend, helpers.examiner.spend
            summary = summarise(read_steps(run), state.matrix, *bills)
            run.write(run.summary, summary.to_json())
    return run


def _follow(state: State, helpers: Helpers, config: Config) -> None:
    """A process that does not lead takes the same steps and writes nothing."""
    with closing(helpers):
        stream = phases_of(config)
        train(state, helpers, stream, config, _NoWatcher(), lambda _: None)


class _NoWatcher:
    """For a process that does not lead: the first process records what both do."""

    def on_step(self, metrics: StepMetrics, timings: StepTimings) -> None: ...

    def on_evaluation(self, row: MatrixRow, questions: Sequence[ExaminedQuestion]) -> None: ...


class _Recorder:
    """Writes every step to the run directory and passes it to the display."""

    def __init__(
        self,
        run: RunDirectory,
        display: Display,
        steps: int,
        alarms: Alarms,
        stream: list[Phase],
        tracking: Tracking,
    ) -> None:
        self.run, self.display, self.steps, self.alarms = run, display, steps, alarms
        self.tracking = tracking
        self.tasks = [phase.name for phase in stream]
        self.matrix: list[MatrixRow] = []
        self.started, self.done = time.monotonic(), 0

    def recall(self, state: State) -> None:
        """Continue where a resumed run stopped: warnings given before are not repeated."""
        self.matrix = list(state.matrix)
        if state.step:
            for metrics in read_steps(self.run):
                self.alarms.after_step(metrics)
        for (step, examined), line in sorted(self._past(), key=lambda each: each[0]):
            self.tracking.log(line, step, examined)

    def _past(self) -> Iterator[tuple[tuple[int, bool], Mapping[str, Any]]]:
        """What trackers were told, or should have been: (step, whether it is an examination)."""
        for line in self.run.metric_lines():
            yield (line["step"], False), line
        for row in self.matrix:
            yield (row.step, True), examination_metrics(row, self.tasks)

    def on_step(self, metrics: StepMetrics, timings: StepTimings) -> None:
        line = metrics.to_line()
        with self.run.writing():
            self.run.append(line, to_plain(timings))
        self.tracking.log(line, metrics.step)
        self.done += 1
        pace = (time.monotonic() - self.started) / self.done
        self.display.step(metrics, pace * (self.steps - metrics.step))
        for text in self.alarms.after_step(metrics):
            self.display.warning(text)

    def on_evaluation(self, row: MatrixRow, questions: Sequence[ExaminedQuestion]) -> None:
        self.matrix.append(row)
        with self.run.writing():
            name = examination_name(row.after_phase)
            self.run.write_examination(name, [question.to_json() for question in questions])
            self.run.write(self.run.matrix, [row.to_json() for row in self.matrix])
        self.tracking.log(examination_metrics(row, self.tasks), row.step, examined=True)
        self.display.evaluation(row)
        for text in examination_alarms(row, self.tasks):
            self.display.warning(text)
