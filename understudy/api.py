"""What a script or a notebook calls, and the command line too.

The functions import what is heavy when they are called.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from understudy import recipes
from understudy.errors import ConfigError, RunError, UnderstudyError
from understudy.run import RunDirectory
from understudy.types import Cost, Options, Question, Turn

if TYPE_CHECKING:
    from rich.table import Table

    from understudy.offload.config import Config
    from understudy.offload.records import Answer, Cell, TaskResult
    from understudy.offload.serve import TrainedModel
    from understudy.report.screen import Screen
    from understudy.routing.rows import ExaminedQuestion

__all__ = [
    "Answer",
    "Cell",
    "Cost",
    "ExaminedQuestion",
    "Options",
    "Question",
    "Run",
    "TaskResult",
    "Turn",
    "UnderstudyError",
    "compare",
    "examine",
    "export",
    "federate",
    "load",
    "share",
    "train",
]

# Records whose modules load numpy.
_LATE = {
    "Answer": "understudy.offload.records",
    "Cell": "understudy.offload.records",
    "ExaminedQuestion": "understudy.routing.rows",
    "TaskResult": "understudy.offload.records",
}

_NO_MEMORY = re.compile("not enough memory|out of memory|can't allocate memory")  # torch's words

Settings = Mapping[str, Any]
RouterChoice = str | Settings  # a name, file.py:Name, or settings with `kind`
Conversation = str | Question | Sequence[Turn | Mapping[str, str]]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATE[name]), name)


class Run:
    """A run on disk. Its newest model is loaded when it is first needed, and kept until `close`.

    router: who decides whether a question goes to the cloud, in place of the run's own: a name such
    as "calibrated", file.py:Name, or settings, as {"kind": "file.py:Name", "weight": 2}.
    """

    def __init__(self, path: Path | str, router: RouterChoice | None = None) -> None:
        self.path = Path(path)
        self.router = router
        self._directory = RunDirectory.open(self.path)
        self._open = ExitStack()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the model, connections and checking processes go; a later call loads them again."""
        self._open.close()
        self.__dict__.pop("_model", None)

    @property
    def settings(self) -> dict[str, Any]:
        """What config.yaml holds."""
        return self._directory.settings()

    @property
    def is_shared(self) -> bool:
        """Whether agents or clients made it, several learners; such a run does not answer."""
        return self.settings.get("recipe") in recipes.TOGETHER

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds; docs/run-results.md defines every key."""
        summary: dict[str, Any] = self._directory.read(self._directory.summary)
        return summary

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A record per step, or per examination of agents."""
        return self._directory.metric_lines()

    @property
    def rows(self) -> list[ExaminedQuestion]:
        """Every question of every examination, in the order of the files' names."""
        from understudy.routing.rows import ExaminedQuestion

        names = sorted(path.stem for path in self._directory.examinations.glob("*.jsonl"))
        return [
            ExaminedQuestion.from_json(record)
            for name in names
            for record in self._directory.read_examination(name)
        ]

    def answer(self, messages: Conversation, task: str | None = None) -> Answer:
        """Answer, or let the cloud answer: who did, why, and what it cost.

        messages: a text, or a conversation whose last turn is the user's; task: which of the run's
        tasks it belongs to; None: the last.
        """
        return self._model.answer(_question(messages), task)

    def ready(self, task: str | None = None) -> Self:
        """Load the model now and not with the first question; refuse a task it does not know."""
        from understudy.offload.serve import known_task

        known_task(self._model.config, task)
        return self

    def examine(self, questions: int = 1024, *, check: bool = True) -> list[TaskResult]:
        """Examine the newest model on so many new test questions of every task of its stream.

        check: try the cloud with one question first.
        """
        if questions < 1:
            raise ConfigError(f"questions={questions}: an examination needs at least 1")
        return self._model.examine(questions, check)

    def report(self) -> Path:
        """Write the report's page anew; returns its path."""
        from understudy import report

        report.write(self._directory)
        return self.report_path

    @property
    def report_path(self) -> Path:
        return self._directory.report

    def tables(self) -> Sequence[Table]:
        """The main figures, for a terminal."""
        from understudy import report

        return report.tables(self._directory)

    @cached_property
    def _model(self) -> TrainedModel:
        from understudy.offload.serve import TrainedModel

        config = recipes.saved_config(self._directory)
        return self._open.enter_context(TrainedModel(self._directory, config, self.router))


def load(path: Path | str, router: RouterChoice | None = None) -> Run:
    """A run that is on disk. router: another than the run's own; see `Run`."""
    return Run(path, router)


def train(
    recipe: str = recipes.DEFAULT,
    *,
    out: Path | str,
    model: str | None = None,
    stream: str | Sequence[Any] | None = None,
    budget: float | None = None,
    config: Path | str | Settings | None = None,
    resume: bool = False,
    display: bool | Screen = False,
    check: bool = True,
    **settings: Any,
) -> Run:
    """Train a local model through a stream of tasks.

    recipe: a name, or my_file.py:Method; out: the run directory to make; config: settings, or the
    YAML file that holds them, under those given here; resume: continue the run that is at `out`;
    display: print how it proceeds, or show it on that screen; check: try the cloud with one
    question first. Every setting of docs/config.md may be given by name, those of a section as a
    mapping: price={"rate": 0.01}.
    """
    named = {"model": model, "stream": stream, "budget": budget}
    named = {key: value for key, value in named.items() if value is not None}
    checked = train_settings(recipe, out, _given(config, {**named, **settings}), resume)
    return _train(checked, Path(out), resume, display, check)


def train_settings(recipe: str, out: Path | str, given: Settings, resume: bool) -> Config:
    """The settings of a run to be, checked; of one to be resumed: its own."""
    recipe, named = recipes.whole_name(recipe), given.get("recipe", recipe)
    if recipes.whole_name(named) != recipe:
        raise ConfigError(f"recipe={named}: the command says {recipe}; use train {named}")
    if not resume:
        return recipes.check_config({"recipe": recipe, **given})
    config = recipes.resumed_config(RunDirectory.open(Path(out)), None, given)
    if config.recipe != recipe:
        raise ConfigError(
            f"recipe={config.recipe}: the command says {recipe}; use train {config.recipe}"
        )
    return config


def _train(config: Config, out: Path, resume: bool, display: bool | Screen, check: bool) -> Run:
    from rich.console import Console

    from understudy import report
    from understudy.offload.phases import total_steps
    from understudy.offload.session import new_run, resume_run
    from understudy.offload.settled import settled
    from understudy.offload.team import join_team
    from understudy.report.offload.live import LiveDisplay

    team = join_team(config.device)
    asked, config = config, config if resume else team.from_leader(lambda: settled(config))
    method = recipes.build_method(config)
    screen = _screen(Console(quiet=not team.leads), display if team.leads else bool(display))
    with LiveDisplay(screen, total_steps(config)) as live, _enough_memory():
        if resume:
            run = resume_run(RunDirectory.open(out), config, method, live, team, check)
        else:
            run = new_run(out, config, method, live, team, check, asked)
    if team.leads:
        report.write(run)
    return Run(run.path)


def share(
    config: Path | str | Settings | None = None,
    *,
    out: Path | str,
    resume: bool = False,
    display: bool | Screen = False,
    **settings: Any,
) -> Run:
    """Let agents on a graph learn together: they share data, parameters or modules.

    config: settings, or the YAML file that holds them, under those given by name; out: the run
    directory to make; resume: continue the run that is there; display: print how it proceeds.
    """
    from rich.console import Console

    from understudy import report
    from understudy.report.share.live import ShareDisplay
    from understudy.share.plan import rounds_of
    from understudy.share.session import run_share
    from understudy.share.variants import asked_settings

    asked = asked_settings(Path(out), _given(config, settings), resume)
    with ShareDisplay(_screen(Console(), display), rounds_of(asked)) as live:
        run = run_share(Path(out), asked, live, resume)
    report.write(run)
    return Run(run.path)


def federate(
    config: Path | str | Settings | None = None,
    *,
    out: Path | str,
    resume: bool = False,
    display: bool | Screen = False,
    **settings: Any,
) -> Run:
    """Let clients learn around a server: each steers one frozen model with a small one of its own.
    What is given means the same as to `share`."""
    from rich.console import Console

    from understudy import report
    from understudy.federate.plan import moments_in
    from understudy.federate.session import run_federation
    from understudy.federate.variants import asked_settings
    from understudy.report.federate.live import FederateDisplay

    asked = asked_settings(Path(out), _given(config, settings), resume)
    with FederateDisplay(_screen(Console(), display), moments_in(asked)) as live:
        run = run_federation(Path(out), asked, live, resume)
    report.write(run)
    return Run(run.path)


def examine(
    run: Run | Path | str,
    questions: int = 1024,
    *,
    router: RouterChoice | None = None,
    check: bool = True,
) -> list[TaskResult]:
    """Examine a run's newest model on every task of its stream, greedily, at its budget."""
    if isinstance(run, Run) and router in (None, run.router):
        return run.examine(questions, check=check)
    path = run.path if isinstance(run, Run) else run
    with load(path, router) as opened:
        return opened.examine(questions, check=check)


def export(run: Run | Path | str, to: str, out: Path | str | None = None) -> Path:
    """Write a run's newest model where other programs serve it; returns what was made.

    to: "peft", the adapter with its tokenizer; "merged", a whole checkpoint of transformers;
    "gguf-lora", the adapter as a file of llama.cpp, whose converter must be there.
    """
    from understudy.offload.export import export as written

    opened = run if isinstance(run, Run) else load(run)
    config = recipes.saved_config(opened._directory)
    return written(opened._directory, config, to, Path(out) if out else None)


def compare(*runs: Run | Path | str, out: Path | str | None = None) -> list[dict[str, Any]]:
    """A record per run: its path, its recipe and the figures to know first. out: a new file, for a
    page of them."""
    from understudy import report

    opened = [(run if isinstance(run, Run) else load(run))._directory for run in runs]
    if out is not None:
        report.write_comparison(opened, Path(out))
    return report.comparison(opened)


@contextmanager
def _enough_memory() -> Iterator[None]:
    """Memory that is exhausted, in one line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        if isinstance(error, RuntimeError) and not _NO_MEMORY.search(reason):
            raise
        raise RunError(
            f"there is not enough memory ({reason}); lower batch_size or num_generations, raise "
            "gradient_accumulation_steps, or see docs/scale.md for what saves memory"
        ) from error


def _question(messages: Conversation) -> Question:
    if isinstance(messages, Question):
        return messages
    if isinstance(messages, str):
        return Question.of(messages)
    if not isinstance(messages, Sequence):
        raise RunError(
            f"{messages!r} is no question; give a text, or messages with role and content"
        )
    turns = []
    for each in messages:
        if isinstance(each, Turn):
            turns.append(each)
        elif isinstance(each, Mapping) and set(each) == {"role", "content"}:
            turns.append(Turn(each["role"], each["content"]))
        else:
            raise RunError(f"{each!r} is no message; give one with role and content")
        if not (isinstance(turns[-1].role, str) and isinstance(turns[-1].content, str)):
            raise RunError(f"{each!r}: role and content are texts")
    return Question(tuple(turns))


def _given(config: Path | str | Settings | None, named: Settings) -> dict[str, Any]:
    """Settings of a file or a mapping, under those given by name.

    A mapping may be nested, or name a nested key as `--set` does: `{"lora.rank": 16}`.
    """
    from understudy.settings import gathered_settings

    if isinstance(config, Path | str):
        return gathered_settings({}, Path(config), named)
    return gathered_settings(config or {}, None, named)


def _screen(console: Any, display: bool | Screen) -> Screen:
    from understudy.report.screen import SilentScreen, screen_on

    if not isinstance(display, bool):
        return display
    return screen_on(console) if display else SilentScreen()
