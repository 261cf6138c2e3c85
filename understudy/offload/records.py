"""What a run leaves: cells and rows of its matrix, its summary, an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy.metrics import SummaryHead, wilson_interval
from understudy.plain import from_plain, to_plain
from understudy.types import Cost

Figures = Mapping[str, float | None]  # of metrics, by their names; NaN or None: not defined
LEAST_SHOWN = 4  # right replies that a warm start needs


@dataclass(frozen=True, slots=True)
class Cell:
    """How a model does on one task's test questions. Accuracies and rates are shares in [0, 1].

    Where a call failed the local answer stands. Whatever the router, the figures of the model's
    own request and of a threshold on the margin stand beside its own. That threshold is fitted
    alike for every recipe, so methods are compared at one share of calls.
    """

    local: float
    system: float  # as the router decides
    ask_rate: float
    cloud: float | None  # over the questions whose answer came; None where none came
    own_ask_rate: float
    own_system: float
    calibrated_ask_rate: float
    calibrated_system: float
    threshold: float  # the calibrated one
    curve: tuple[float | None, ...]  # the system's accuracy at every tenth of calls, by margin
    questions: int
    cloud_answers: int  # how many of them have an answer of the cloud
    router_tokens: int  # that the local model computed before the router could decide
    validation_calls: int = 0  # validation questions that the cloud answered, to fit the threshold
    never_asks: str | None = None  # why the fitted threshold lets nothing through; None: it does
    # Of tasks whose answers are labels or choices; None of others.
    macro_f1: float | None = None  # of the local answers
    constant: float | None = None  # accuracy of always naming the label that is right most often
    answers: int | None = None  # different labels that the local model named
    distinct_questions: int | None = None  # of the questions; None: an older run did not count

    @property
    def sample(self) -> int:
        """What the figures are sure by: a question that comes twice says nothing new."""
        return self.questions if self.distinct_questions is None else self.distinct_questions

    def interval(self, share: float) -> tuple[float, float]:
        """The 95 % interval (Wilson's) of one of its shares over the questions."""
        return wilson_interval(share * self.sample, self.sample)


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """Every task of the stream, examined after a phase; after_phase 0 is before training."""

    after_phase: int
    step: int
    tasks: tuple[Cell, ...]
    distinct_questions: int  # of all tasks' test questions

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = to_plain(self)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> MatrixRow:
        return from_plain(cls, record, "the matrix")


_TRACKED = ("local", "system", "ask_rate", "cloud", "macro_f1")


def examination_metrics(row: MatrixRow, tasks: Sequence[str]) -> dict[str, float | None]:
    """An examination in one line of metrics, named as transformers names those of several data
    sets: eval_facts_local. tasks: the names of the stream's phases; one that comes again under
    other settings has the number of its phase, too."""
    cells: dict[str, Cell] = {}
    for number, (task, cell) in enumerate(zip(tasks, row.tasks, strict=True), start=1):
        cells[task if cells.get(task, cell) == cell else f"{task}_{number}"] = cell
    return {
        f"eval_{name}_{key}": getattr(cell, key) for name, cell in cells.items() for key in _TRACKED
    }


def examination_name(after_phase: int) -> str:
    """The name, and the file's, of the examination after a phase."""
    return f"phase-{after_phase}"


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A task of `understudy eval`."""

    task: str
    budget: float
    queries: int  # that were asked for; a data set may have fewer: the cell's questions
    cell: Cell

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = to_plain(self)
        cell: dict[str, Any] = record.pop("cell")
        shares = ("local", "system", "ask_rate")
        known = {name: self.cell.interval(getattr(self.cell, name)) for name in shares}
        return record | cell | {"intervals": {name: list(ends) for name, ends in known.items()}}


@dataclass(frozen=True, slots=True)
class ServedFigures:
    """A task as it is served at the end of its own phase."""

    local: float
    system: float
    ask_rate: float
    own_ask_rate: float
    calibrated_ask_rate: float
    cloud: float | None
    macro_f1: float | None = None
    constant: float | None = None
    answers: int | None = None


@dataclass(frozen=True, slots=True)
class WarmStarted:
    """What the warm start of a phase did; nothing where it was off."""

    asked: int = 0  # calls that were paid for: without replies known from before
    examples: int = 0  # right replies that are short enough; learnt where there are enough
    steps: int = 0
    before: float | None = None  # share of responses with the form of an answer; None: not looked
    after: float | None = None
    share: float = 0.0  # what was asked of the questions of all the phase's steps
    replies: int = 0  # of the cloud that were looked at

    def metrics(self) -> dict[str, float]:
        """For the line of the phase's first step."""
        if self.before is None or self.after is None:
            return {}
        return {
            "warm_start/asked": self.asked,
            "warm_start/replies": self.replies,
            "warm_start/examples": self.examples,
            "warm_start/steps": self.steps,
            "warm_start/formed_before": self.before,
            "warm_start/formed_after": self.after,
            "warm_start/usage": self.share,
        }


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    phase: int
    task: str
    budget: float
    training: Figures  # how the ask rate kept to the budget, step by step
    evaluation: ServedFigures
    training_system_accuracy: float
    usage: float  # share of the phase's questions that were asked, by its warm start too
    warm_start_usage: float  # by its warm start alone

    @property
    def settled_usage(self) -> float | None:
        """As `usage`, the responses being those of the phase's second half."""
        asked = self.training["settled_mean"]
        return None if asked is None else asked + self.warm_start_usage


@dataclass(frozen=True, slots=True)
class Bill:
    """What crossed the link to the cloud, and what it cost."""

    calls: int
    failed_calls: int
    cache_hits: int
    tokens: int
    dollars: float
    seconds: float
    retries: int = 0
    unknown_calls: int = 0  # failed ones that may have been paid for
    unknown_dollars: float = 0.0  # what they cost at most, not among the dollars


@dataclass(frozen=True, slots=True)
class RunSummary(SummaryHead):
    """summary.json. What is undefined, such as the forgetting of one phase, is null there."""

    local: Figures
    system: Figures
    calibrated_system: Figures
    phases: tuple[PhaseSummary, ...]
    steps: int
    ask_level_correlation: float | None
    spend: Bill
    evaluation_spend: Bill

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = to_plain(self)
        return record


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered a question, why, and what it cost."""

    text: str | None  # None: nobody gave an answer in the form of the task
    answered_by: Literal["local", "cloud"]
    why: str
    cost: Cost  # of the cloud; the local model is free
    local_text: str  # what the local model wrote
    margin: float  # the local model's lead for asking
    threshold: float

    def to_json(self) -> dict[str, Any]:
        return {
            "answer": self.text,
            "answered_by": self.answered_by,
            "local_text": self.local_text,
            "margin": self.margin,
            "threshold": self.threshold,
            "dollars": self.cost.dollars,
            "cloud_tokens": self.cost.prompt_tokens + self.cost.completion_tokens,
            "seconds": self.cost.seconds,
            "why": self.why,
        }
