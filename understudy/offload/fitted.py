"""The router of each of a run's tasks, fitted as in its last examination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from understudy.errors import RunError
from understudy.offload.config import Config
from understudy.offload.phases import budget_of, phases_of, task_key
from understudy.offload.records import MatrixRow, examination_name
from understudy.routing.calibration import Calibration
from understudy.routing.evidence import Generate
from understudy.routing.router import Router, checked_scores, with_signals
from understudy.routing.rows import Exam, ExaminedQuestion
from understudy.run import RunDirectory
from understudy.tasks import Tasks
from understudy.tasks.stream import Phase
from understudy.types import Question


@dataclass
class FittedRouters:
    """By the validation questions of a task, under its budget, by the cloud's verdicts that the
    examination kept.

    router: not yet fitted. tasks: where the questions' texts are; it is called for a router that
    reads texts, or lets the local model write more by `generate`.
    """

    run: RunDirectory
    config: Config
    router: Router
    own_threshold: float  # the margin above which the model asks by itself, as in training
    tasks: Callable[[], Tasks]
    generate: Generate
    _by_phase: dict[int, Calibration] = field(default_factory=dict)
    _examined: dict[str, list[ExaminedQuestion]] = field(default_factory=dict)

    @cached_property
    def stream(self) -> list[Phase]:
        return phases_of(self.config)

    @cached_property
    def names(self) -> list[str]:
        """The run's tasks, in the order of its stream."""
        return list(dict.fromkeys(name for phase in self.stream for name in phase.families))

    def of(self, task: str | None = None) -> Calibration:
        """The router of one of the run's tasks with its scores; None: the last task."""
        phases, after = self.phases(task), self._last_examined
        met = [number for number in phases if number <= after]
        number = met[-1] if met else phases[0]
        if number not in self._by_phase:
            exam = self._kept_exam(examination_name(after), number)
            evidence = exam.evidence(self.own_threshold)
            evidence = with_signals(self.router, evidence, self.generate)
            budget = budget_of(self.stream[number - 1], self.config)
            fitted = self.router.fit(evidence, exam.outcomes(), budget)
            scores = tuple(checked_scores(fitted, evidence).tolist())
            self._by_phase[number] = Calibration(fitted, scores)
        return self._by_phase[number]

    def phases(self, task: str | None) -> list[int]:
        """The numbers of the phases in which a task occurs; None: the run's last task."""
        name = task or list(self.stream[-1].families)[-1]
        found = [i for i, phase in enumerate(self.stream, start=1) if name in phase.families]
        if not found:
            raise RunError(f"task {name}: this run knows {', '.join(self.names)}")
        return found

    @cached_property
    def _last_examined(self) -> int:
        """The phase after which the run was examined last."""
        return MatrixRow.from_json(self.run.read(self.run.matrix)[-1]).after_phase

    def _kept_exam(self, name: str, number: int) -> Exam:
        """The validation questions of a phase's task that an examination has kept."""
        phase = self.stream[number - 1]
        column = [task_key(each) for each in self.stream].index(task_key(phase))
        rows = [row for row in self._validation(name) if row.column == column]
        if not self._reads_texts:
            return Exam((Question.of(""),) * len(rows), tuple(rows))
        size = self.config.calibration_queries
        drawn = self.tasks().exam(phase, size, "validation", str(self.config.seed))
        known = {problem.question.digest: problem.local_question for problem in drawn}
        if lost := [row for row in rows if row.digest not in known]:
            raise RunError(
                f"{self.run.path}: {len(lost)} questions of {phase.name} are not in the data "
                "any more; restore the data that the run was trained on"
            )
        return Exam(tuple(known[row.digest] for row in rows), tuple(rows))

    def _validation(self, name: str) -> list[ExaminedQuestion]:
        """The validation questions of an examination, read once."""
        if name not in self._examined:
            records = map(ExaminedQuestion.from_json, self.run.read_examination(name))
            self._examined[name] = [row for row in records if row.split == "validation"]
        return self._examined[name]

    @property
    def _reads_texts(self) -> bool:
        return "questions" in self.router.needs or bool(self.router.gathers)
