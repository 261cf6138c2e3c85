"""Greedy examination: every question becomes a row, a router decides, rows become a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from understudy.clouds import MeteredCloud
from understudy.models.policy import Policy
from understudy.offload.config import Config
from understudy.offload.grade import grade
from understudy.offload.learner import holding
from understudy.offload.local import Batches, LocalAnswer, LocalGenerator, greedy
from understudy.offload.phases import budget_of, task_key
from understudy.offload.records import Cell, MatrixRow
from understudy.offload.team import ALONE, Team
from understudy.progress import task
from understudy.routing.calibrated import compared_threshold
from understudy.routing.router import Router, never_asks, to_test, tokens_spent, with_signals
from understudy.routing.rows import LONGEST_ANSWER, Exam, ExaminedQuestion, Split
from understudy.tasks import Tasks
from understudy.tasks.stream import Phase
from understudy.types import Cost, Problem, Reply

_CALLS_AT_ONCE = 64  # then progress is shown


@dataclass(frozen=True, slots=True)
class Examiner:
    """Where examinations are held: who knows the questions and answers, who helps, who works."""

    tasks: Tasks
    cloud: MeteredCloud
    team: Team = ALONE
    rows: int = 512  # answered at once

    @property
    def batches(self) -> Batches:
        return Batches(self.rows, self.team)


def _as_trained(phases: Sequence[int]) -> Mapping[str, Tensor]:
    """The model answers as training left it."""
    return {}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model and the router that it is served with."""

    policy: Policy
    router: Router
    own_threshold: float  # the margin above which the model asks by itself, as in training
    # Tensors that take the place of the model's own for a task, by the phases that it occurs in.
    answering: Callable[[Sequence[int]], Mapping[str, Tensor]] = _as_trained


@dataclass(frozen=True, slots=True)
class Occasion:
    """Which examination it is: its name, the key by which its questions are drawn, and where it
    stands in the stream."""

    name: str
    key: str
    column: int = 0  # of the matrix


@dataclass(frozen=True, slots=True)
class ExaminedTask:
    """A task of the stream: its questions with their rows, and what they come to."""

    validation: Exam
    test: Exam
    cell: Cell


def examine_stream(
    served: ServedModel,
    examiner: Examiner,
    stream: Sequence[Phase],
    config: Config,
    occasion: Occasion,
) -> list[ExaminedTask]:
    """Every task of a stream, in its order; a task that comes back is examined once."""
    seen: dict[str, ExaminedTask] = {}
    keys = [task_key(phase) for phase in stream]
    for column, (key, phase) in enumerate(zip(keys, stream, strict=True)):
        if key not in seen:
            here = replace(occasion, column=column)
            phases = [number for number, other in enumerate(keys, start=1) if other == key]
            with holding(served.policy, served.answering(phases)):
                seen[key] = examine_task(served, examiner, phase, config, here)
    return [seen[key] for key in keys]


def examined_questions(tasks: Tasks, stream: Sequence[Phase], config: Config) -> int:
    """How many a whole run examines: every task after every phase, and before the first."""
    sizes: list[tuple[Split, int]] = [
        ("test", config.eval_queries),
        ("validation", config.calibration_queries),
    ]
    once = {task_key(phase): phase for phase in stream}.values()
    counts = (tasks.exam_size(phase, size, split) for phase in once for split, size in sizes)
    return sum(counts) * (len(stream) + 1)


def examine_task(
    served: ServedModel, examiner: Examiner, phase: Phase, config: Config, occasion: Occasion
) -> ExaminedTask:
    """The router is fitted on validation questions and graded on test questions."""
    own, budget = served.own_threshold, budget_of(phase, config)
    longest = config.max_completion_length
    problems, validation = _exam(served.policy, examiner, phase, config, occasion, "validation")
    test_problems, test = _exam(served.policy, examiner, phase, config, occasion, "test")
    test = _with_cloud(test, test_problems, range(len(test_problems)), examiner)
    generate = LocalGenerator(served.policy, longest, examiner.batches)
    evidence = with_signals(served.router, validation.evidence(own), generate)
    validation = validation.with_signals(evidence)
    router = served.router.fit(evidence, validation.outcomes(), budget)
    if router.calls:
        validation = _with_cloud(validation, problems, to_test(router, evidence), examiner)
        router = served.router.fit(evidence, validation.outcomes(), budget)
    outcomes = validation.outcomes()
    why_never = never_asks(router, evidence, outcomes)
    compared = compared_threshold(evidence, outcomes, budget)
    evidence = with_signals(router, test.evidence(own), generate)
    decisions = router.decisions(evidence)
    test = test.with_signals(evidence).with_decisions(decisions)
    cell = grade(test.rows, decisions, own, compared, tokens_spent(router, evidence))
    known = sum(row.cloud_right is not None for row in validation.rows)
    return ExaminedTask(
        validation, test, replace(cell, validation_calls=known, never_asks=why_never)
    )


def _exam(
    policy: Policy,
    examiner: Examiner,
    phase: Phase,
    config: Config,
    occasion: Occasion,
    split: Split,
) -> tuple[list[Problem], Exam]:
    """The problems of one split, and their questions answered locally."""
    size = config.eval_queries if split == "test" else config.calibration_queries
    problems = examiner.tasks.exam(phase, size, split, occasion.key)
    name = f"{phase.name}, {split} questions"
    answers = local_answers(policy, examiner, problems, config.max_completion_length, name)
    rows = [
        ExaminedQuestion(
            examination=occasion.name,
            column=occasion.column,
            task=phase.name,
            split=split,
            digest=problem.question.digest,
            level=problem.level,
            local_right=right,
            margin=local.margin,
            mean_entropy=local.mean_entropy,
            prompt_tokens=local.prompt_tokens,
            completion_tokens=local.completion_tokens,
            answer=local.answer[:LONGEST_ANSWER],
            label=(label := examiner.tasks.label(problem)),
            local_label=None
            if label is None
            else examiner.tasks.named_label(problem, local.answer),
        )
        for problem, (local, right) in zip(problems, answers, strict=True)
    ]
    return problems, Exam(tuple(problem.local_question for problem in problems), tuple(rows))


def _with_cloud(
    exam: Exam, problems: Sequence[Problem], places: Sequence[int], examiner: Examiner
) -> Exam:
    """The same, the rows at some places with what the cloud says."""
    if not places:
        return exam
    asked, name = [problems[i] for i in places], f"{exam.rows[0].task}, {exam.rows[0].split}"
    replies = examiner.team.from_leader(lambda: cloud_answers(examiner, asked, f"{name} questions"))
    rows = list(exam.rows)
    for i, (right, cost) in zip(places, replies, strict=True):
        rows[i] = replace(rows[i], cloud_right=right, cost=cost)
    return replace(exam, rows=tuple(rows))


def local_answers(
    policy: Policy,
    examiner: Examiner,
    problems: Sequence[Problem],
    max_completion_length: int,
    name: str = "",
) -> list[tuple[LocalAnswer, bool]]:
    """The model's own greedy answers, asking forbidden, and whether they are right.

    The team shares the work.
    """

    def work(places: list[int]) -> list[tuple[LocalAnswer, bool]]:
        part = [problems[i] for i in places]
        answers = greedy(policy, part, max_completion_length)
        right = right_answers(examiner.tasks, part, [each.answer for each in answers])
        return list(zip(answers, right, strict=True))

    with task(f"examining {name}", len(problems)) as advance:
        return examiner.batches.run([len(each.prompt) for each in problems], work, advance)


def cloud_answers(
    examiner: Examiner, problems: Sequence[Problem], name: str
) -> list[tuple[bool | None, Cost]]:
    """Whether the cloud's answers are right, None where a call failed; and what each cost."""
    replies: list[Reply] = []
    with task(f"asking the cloud about {name}", len(problems)) as advance:
        for start in range(0, len(problems), _CALLS_AT_ONCE):
            part = problems[start : start + _CALLS_AT_ONCE]
            replies += examiner.cloud.replies([problem.question for problem in part])
            advance(len(part))
    came = [i for i, reply in enumerate(replies) if reply.error is None]
    texts = [replies[i].text or "" for i in came]
    right = right_answers(examiner.tasks, [problems[i] for i in came], texts)
    known = dict(zip(came, right, strict=True))
    return [(known.get(i), reply.cost) for i, reply in enumerate(replies)]


def right_answers(
    tasks: Tasks, problems: Sequence[Problem], completions: Sequence[str]
) -> list[bool]:
    """What cannot be decided is not right; `Tasks` counts such checks."""
    verdicts = tasks.check(problems, completions)
    return [verdict is not None and verdict >= 1 for verdict in verdicts]


def matrix_row(examined: Sequence[ExaminedTask], after: int, step: int) -> MatrixRow:
    """The cells of an examination."""
    digests = {row.digest for each in examined for row in each.test.rows}
    return MatrixRow(after, step, tuple(each.cell for each in examined), len(digests))


def rows_of(examined: Sequence[ExaminedTask]) -> list[ExaminedQuestion]:
    """Every row of an examination once, task by task."""
    once = {id(each): each for each in examined}.values()
    return [row for each in once for exam in (each.validation, each.test) for row in exam.rows]
