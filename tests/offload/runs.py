"""Small runs: a model that just learnt the form of an answer, and settings of a few steps."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from understudy.link import Spend
from understudy.models.checkpoint import save_decoder
from understudy.models.decoder import Decoder
from understudy.models.tokens import Tokens, build_tokenizer
from understudy.offload.config import Config
from understudy.offload.experience import Experience
from understudy.offload.helpers import Helpers
from understudy.offload.loop import source_of, train
from understudy.offload.records import MatrixRow
from understudy.offload.session import new_run, resume_run
from understudy.offload.settled import RULES, settled, value_of
from understudy.offload.start import start
from understudy.offload.state import State
from understudy.offload.steps import StepMetrics, StepTimings
from understudy.recipes import build_method, resolve_config
from understudy.recipes.pretrain_tiny import loss_of, pupil, write_tokenizer_config
from understudy.routing.rows import ExaminedQuestion
from understudy.run import RunDirectory
from understudy.tasks import FAMILIES, draw_problem
from understudy.tasks.stream import load_stream

TWO_PHASES = [
    {"families": "facts", "levels": [1, 1], "steps": 2},
    {"families": "strings", "levels": [1, 2], "steps": 2},
]


def _closed() -> dict[str, Any]:
    """What the tiny model takes for every setting that may be left open: one that is newly left
    open, for larger models, changes no test."""
    config = settled(resolve_config("understudy", None, []))
    return {key: value_of(config, key) for key in RULES}


SMALL: dict[str, Any] = _closed() | {
    "stream": TWO_PHASES,
    "batch_size": 4,
    "num_generations": 4,
    "max_completion_length": 8,
    "eval_queries": 6,
    "calibration_queries": 8,
    "checkpoint_every": 2,
    "learning_rate": 0.003,
}
# Everything that a resumed run must repeat: fallible calls, learning from the cloud.
EVERYTHING: dict[str, Any] = {
    "cloud.accuracy": 0.7,
    "cloud.faults.failure_rate": 0.2,
    "cloud.faults.truncation_rate": 0.1,
    "distill": 0.5,
}


def saved_model(folder: Path, schooled: bool = True) -> Path:
    """A checkpoint of one block. Schooled, it answers facts by guessing and asks now and then."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [word for family in FAMILIES.values() for word in family.words]
    build_tokenizer(words).save(str(folder / "tokenizer.json"))
    write_tokenizer_config(folder)
    tokens = Tokens(folder)
    model = _schooled(tokens) if schooled else _fresh(tokens)
    save_decoder(model, folder, folder)
    return folder


def _fresh(tokens: Tokens) -> Decoder:
    torch.manual_seed(0)
    return pupil(tokens.tokenizer.get_vocab_size(), 32, 1, 32)


_LESSONS: dict[str, Decoder] = {}


def _schooled(tokens: Tokens) -> Decoder:
    if "facts" not in _LESSONS:
        model, rng = _fresh(tokens), random.Random(0)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(40):
            batch = [draw_problem(FAMILIES["facts"], 1, "train", rng) for _ in range(24)]
            optimiser.zero_grad()
            loss_of(model, tokens, batch, rng).backward()
            optimiser.step()
        _LESSONS["facts"] = model
    return _LESSONS["facts"]


def settings_of(config: dict[str, Any]) -> list[str]:
    """Settings as the command line takes them: YAML reads JSON."""
    return [f"{key}={json.dumps(value)}" for key, value in config.items()]


def config_of(recipe: str, model: Path, **settings: Any) -> Config:
    """The small settings under these; a key's dots are written as double underscores."""
    given = {key.replace("__", "."): value for key, value in settings.items()}
    complete = SMALL | {"model": str(model)} | given
    return settled(resolve_config(recipe, None, settings_of(complete)))


def drawn_figures(asked: torch.Tensor) -> dict[str, torch.Tensor]:
    """The fields of scores that say how responses were drawn, where a test does not care."""
    zeros = torch.zeros(asked.shape)
    figures = {"ask_probability": zeros, "lengths": zeros.long(), "entropy": zeros}
    return figures | {"asked": asked, "finished": zeros.bool()}


class Silent:
    """A display that remembers, and that stops the run at its n-th event if told to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.events = stop_at, 0
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def step(self, metrics: StepMetrics, seconds_left: float) -> None:
        self._event()

    def evaluation(self, row: MatrixRow) -> None:
        self._event()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def _event(self) -> None:
        self.events += 1
        if self.events == self.stop_at:
            raise StoppedError


class StoppedError(Exception):
    """A run was cut short."""


def run_new(path: Path, config: Config, display: Silent | None = None) -> RunDirectory:
    return new_run(path, config, build_method(config), display or Silent())


def run_on(run: RunDirectory, config: Config, display: Silent | None = None) -> RunDirectory:
    return resume_run(run, config, build_method(config), display or Silent())


def results_of(run: RunDirectory) -> dict[str, bytes]:
    """Every byte that a resumed run must repeat."""
    files = [run.config, run.metrics, run.matrix, run.summary]
    files += sorted(run.examinations.iterdir())
    files += sorted(run.last_checkpoint().iterdir())
    return {file.name: file.read_bytes() for file in files}


class Lines:
    """A watcher that keeps everything in memory."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []  # as they stand in the file
        self.rows: list[MatrixRow] = []
        self.questions: list[ExaminedQuestion] = []
        self.spend: Callable[[], Spend] = Spend  # of training
        self.examined: Callable[[], Spend] = Spend  # of the examinations

    def on_step(self, metrics: StepMetrics, timings: StepTimings) -> None:
        self.steps.append(metrics.to_line())

    def on_evaluation(self, row: MatrixRow, questions: Sequence[ExaminedQuestion]) -> None:
        self.rows.append(row)
        self.questions += questions


def trajectory(config: Config) -> tuple[Lines, State]:
    """A run without a run directory: its lines, and the state it ends in."""
    lines, phases = Lines(), load_stream(config.stream)
    state, helpers = start(config, build_method(config))
    lines.spend, lines.examined = lambda: helpers.cloud.spend, lambda: helpers.examiner.spend
    return lines, train(state, helpers, phases, config, lines, lambda _: None)


def first_experience(
    config: Config, budget: float | None = None
) -> tuple[State, Helpers, Experience]:
    """A run that is about to learn from its first batch."""
    state, helpers = start(config, build_method(config))
    phase = load_stream(config.stream)[0]
    problems = helpers.tasks.batch(phase, config.batch_size, "train", "0")
    source = source_of(state, helpers, config, config.budget if budget is None else budget)
    return state, helpers, state.method.experience(source, problems, state.dual)
