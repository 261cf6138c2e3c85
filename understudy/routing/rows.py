"""The row that every examined question leaves, and rows as evidence for a router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from understudy.routing.evidence import Evidence, Outcomes
from understudy.types import Cost, Question

if TYPE_CHECKING:
    from understudy.routing.evidence import Decisions, FloatArray

LONGEST_ANSWER = 2000  # characters that a row keeps
Split = Literal["validation", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminedQuestion:
    """Who was right, what each signal said, what it cost: a line of examinations/*.jsonl."""

    examination: str  # as "phase-1": after the first phase
    column: int  # of the matrix, from 0: the first of the columns that this question belongs to
    task: str
    split: Split
    digest: str  # of the question
    level: int
    local_right: bool
    cloud_right: bool | None = None  # None: no call was made, or it failed
    asked: float | None = (
        None  # the chance that the router in force asks; None on validation questions
    )
    margin: float
    mean_entropy: float
    prompt_tokens: int  # of the local model
    completion_tokens: int
    answer: str  # of the local model, perhaps cut
    label: str | None = None  # the right one; None: the question has none
    local_label: str | None = None  # the one that the local answer names; None: none
    cost: Cost | None = None  # of the cloud's reply; None: no call was made
    signals: Mapping[str, float] = field(default_factory=dict)  # what the router gathered

    def to_json(self) -> dict[str, Any]:
        """A line of the file. What is not there, but for the cloud's verdict, is left out."""
        values = {name: getattr(self, name) for name in _FIELDS}
        record = {name: value for name, value in values.items() if value not in (None, {})}
        if self.cost is not None:
            record["cost"] = {name: value for name, value in asdict(self.cost).items() if value}
        return record | {"cloud_right": self.cloud_right}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ExaminedQuestion:
        cost = record.get("cost")
        return cls(**{**record, "cost": None if cost is None else Cost(**cost)})


_FIELDS = tuple(each.name for each in fields(ExaminedQuestion))


class LocalSignals(Protocol):
    """What a local answer says of itself: an examined question, or one just answered."""

    @property
    def answer(self) -> str: ...
    @property
    def margin(self) -> float: ...
    @property
    def mean_entropy(self) -> float: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Exam:
    """Questions and their rows, in one order."""

    questions: tuple[Question, ...] = ()
    rows: tuple[ExaminedQuestion, ...] = ()

    def __add__(self, other: Exam) -> Exam:
        return Exam(self.questions + other.questions, self.rows + other.rows)

    def evidence(self, own_threshold: float) -> Evidence:
        return evidence_of(self.questions, self.rows, own_threshold, self._signals())

    def outcomes(self) -> Outcomes:
        import numpy as np

        unknown = float("nan")
        cloud = [unknown if row.cloud_right is None else row.cloud_right for row in self.rows]
        local = [row.local_right for row in self.rows]
        return Outcomes(np.array(local, dtype=np.float64), np.array(cloud, dtype=np.float64))

    def with_signals(self, evidence: Evidence) -> Exam:
        """The same, the rows with what a router has gathered."""
        values = {name: column.tolist() for name, column in evidence.signals.items()}
        rows = (
            replace(row, signals={name: column[i] for name, column in values.items()})
            for i, row in enumerate(self.rows)
        )
        return replace(self, rows=tuple(rows)) if values else self

    def with_decisions(self, decisions: Decisions) -> Exam:
        asked = decisions.astype(float).tolist()
        pairs = zip(self.rows, asked, strict=True)
        return replace(self, rows=tuple(replace(row, asked=chance) for row, chance in pairs))

    def _signals(self) -> dict[str, FloatArray]:
        import numpy as np

        names = list(self.rows[0].signals) if self.rows else []
        return {name: np.array([row.signals[name] for row in self.rows]) for name in names}


def evidence_of(
    questions: Sequence[Question],
    answers: Sequence[LocalSignals],
    own_threshold: float,
    signals: Mapping[str, FloatArray] | None = None,
) -> Evidence:
    """What is known of some questions that the local model has answered."""
    import numpy as np

    return Evidence(
        tuple(questions),
        tuple(each.answer[:LONGEST_ANSWER] for each in answers),
        np.array([each.margin for each in answers], dtype=np.float64),
        np.array([each.mean_entropy for each in answers], dtype=np.float64),
        np.array([each.prompt_tokens for each in answers], dtype=np.int64),
        np.array([each.completion_tokens for each in answers], dtype=np.int64),
        own_threshold,
        signals or {},
    )
