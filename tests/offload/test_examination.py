"""An examination: who is asked under each router, what that gives, and the rows it leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from tests.offload.runs import Lines, config_of, trajectory
from understudy.clouds import MeteredCloud
from understudy.offload.config import Config
from understudy.offload.examination import (
    Examiner,
    Occasion,
    ServedModel,
    examine_stream,
    examined_questions,
    rows_of,
)
from understudy.offload.grade import grade
from understudy.offload.helpers import Helpers
from understudy.offload.loop import evaluate
from understudy.offload.start import start
from understudy.offload.state import State
from understudy.recipes import build_method
from understudy.routing import ROUTERS
from understudy.routing.evidence import Outcomes
from understudy.routing.router import Router, build_router
from understudy.routing.rows import Exam, ExaminedQuestion
from understudy.routing.thresholds import LEAST_TESTED, most_above
from understudy.tasks import open_tasks
from understudy.tasks.data import DataConfig
from understudy.tasks.stream import load_stream
from understudy.types import Question


@pytest.mark.parametrize(
    ("phases", "tasks"),
    [
        (({"steps": 2}, {"steps": 9}), 1),
        (({"budget": 0.1}, {"budget": 0.5}), 2),  # examined at another budget
        (({"families": "facts"}, {"families": "strings"}, {"families": "facts"}), 2),
    ],
)
def test_a_task_that_comes_back_is_examined_once(
    phases: tuple[dict[str, object], ...], tasks: int
) -> None:
    stream = [{"families": "facts", "levels": [1, 1], "steps": 2} | each for each in phases]
    config = config_of("understudy", Path("tiny"), stream=stream)
    with open_tasks() as work:
        found = examined_questions(work, load_stream(stream), config)
    assert found == tasks * (6 + 8) * (len(phases) + 1)


def test_a_small_data_set_is_examined_on_what_it_has(tmp_path: Path) -> None:
    """300 rows: 56 for validation and 48 to test, of the 256 and 512 that are asked for."""
    path = tmp_path / "mine.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"{i}", "label": "ab"[i % 2]}) + "\n" for i in range(300))
    )
    stream = load_stream([{"families": "mine"}], ["mine"])
    config = Config().model_copy(update={"eval_queries": 256, "calibration_queries": 512})
    with open_tasks({"mine": DataConfig(path=str(path), form="label")}) as tasks:
        sizes = [len(tasks.exam(stream[0], 512, split, "k")) for split in ("test", "validation")]
        assert max(sizes) < 100
        assert examined_questions(tasks, stream, config) == 2 * sum(sizes)


def rows(
    local: list[int], cloud: list[int | None], margin: list[float]
) -> tuple[ExaminedQuestion, ...]:
    return tuple(
        ExaminedQuestion(
            examination="phase-0",
            column=0,
            task="facts",
            split="test",
            digest=str(i),
            level=1,
            local_right=bool(right),
            cloud_right=None if helped is None else bool(helped),
            margin=lead,
            mean_entropy=0.0,
            prompt_tokens=3,
            completion_tokens=2,
            answer="",
        )
        for i, (right, helped, lead) in enumerate(zip(local, cloud, margin, strict=True))
    )


def router(kind: str) -> Router:
    return build_router(ROUTERS.load(kind).Settings(kind=kind))


# Five questions; the local model is right on the first, third and fifth.
ROWS = rows([1, 0, 1, 0, 1], [1, 1, 0, 1, 1], [-2.0, 1.0, 3.0, -0.5, -4.0])
EXAM = Exam(tuple(Question.of(row.digest) for row in ROWS), ROWS)


@pytest.mark.parametrize(
    ("kind", "shift", "budget", "rate", "system"),
    [
        ("own", 0.0, 0.2, 0.4, 3 / 5),  # the second gains, the third loses
        ("own", 1.0, 0.2, 0.6, 4 / 5),  # a shift of 1 lets the fourth ask
        ("own", float("-inf"), 0.2, 0.0, 3 / 5),
        ("own", 0.0, 0.0, 0.0, 3 / 5),  # no budget, no asking
        ("capped", 0.0, 0.2, 0.2, 4 / 5),  # only the first to want it
        ("capped", 0.0, 0.0, 0.0, 3 / 5),
        ("capped", 0.0, 1.0, 0.4, 3 / 5),
        ("random", 0.0, 0.5, 0.5, 0.7),  # half way from 3/5 to 4/5
    ],
)
def test_each_router_graded(
    kind: str, shift: float, budget: float, rate: float, system: float
) -> None:
    evidence = EXAM.evidence(-shift)
    decisions = router(kind).fit(evidence, EXAM.outcomes(), budget).decisions(evidence)
    cell = grade(ROWS, decisions, -shift, 2.0)
    assert (cell.local, cell.cloud) == pytest.approx((3 / 5, 4 / 5))
    assert (cell.ask_rate, cell.system) == pytest.approx((rate, system))
    # Above 2: the third alone.
    assert (cell.calibrated_ask_rate, cell.calibrated_system) == pytest.approx((0.2, 0.4))
    assert (cell.curve[0], cell.curve[2], cell.curve[10]) == pytest.approx((3 / 5, 2 / 5, 4 / 5))
    assert (cell.questions, cell.cloud_answers) == (5, 5)


def test_where_a_call_failed_the_local_answer_stands() -> None:
    given = rows([1, 0, 1, 0], [None, None, 0, 1], [1.0, 1.0, 1.0, -1.0])
    cell = grade(given, np.array([True, True, True, True]), 0.0, 0.0)
    assert cell.cloud == pytest.approx(1 / 2)  # over two answers that came
    assert cell.cloud_answers == 2
    assert cell.system == pytest.approx(2 / 4)  # right, wrong, wrong by the cloud, right by it
    assert (cell.curve[0], cell.curve[10]) == pytest.approx((1 / 2, 1 / 2))


def test_without_one_answer_there_is_no_figure_of_the_cloud() -> None:
    cell = grade(rows([1, 0], [None, None], [1.0, -1.0]), np.array([True, False]), 0.0, 0.0)
    assert cell.cloud is None
    assert cell.cloud_answers == 0
    assert (cell.local, cell.system, cell.ask_rate) == (0.5, 0.5, 0.5)
    assert set(cell.curve) == {None}


def test_tasks_are_pooled_question_by_question() -> None:
    margin = np.random.default_rng(0).normal(size=500).tolist()
    first = rows([0] * 500, [None] * 500, margin)
    second = rows([1] * 500, [None] * 500, [value + 100 for value in margin])
    asked = tuple(Question.of(str(i)) for i in range(500))
    both = Exam(asked, first) + Exam(asked, second)
    evidence, outcomes = both.evidence(0.0), both.outcomes()
    assert isinstance(outcomes, Outcomes)
    assert outcomes.local_right.mean() == pytest.approx(0.5)
    fitted = router("calibrated").fit(evidence, outcomes, 0.3)
    assert fitted.threshold > 90  # the second task wants to ask most
    assert fitted.decisions(evidence).mean() == pytest.approx(0.28)


def served(state: State, kind: str = "own") -> ServedModel:
    return ServedModel(state.policy, router(kind), -state.dual.shift)


def examined(state: State, helpers: Helpers, config: Config, name: str) -> list[ExaminedQuestion]:
    stream = load_stream(config.stream)
    examiner = helpers.examination(config)
    return rows_of(examine_stream(served(state), examiner, stream, config, Occasion(name, "k")))


def test_thresholds_are_fitted_to_validation_questions_of_their_task(model: Path) -> None:
    """The compared one alike for every recipe, though only one of them asks the cloud."""
    settings: dict[str, Any] = {"calibration_queries": 64, "eval_queries": 64, "seed": 3}
    found = []
    for recipe in ("understudy", "dagrpo"):
        config = config_of(recipe, model, cloud__accuracy=0.0, **settings)
        stream, lines = load_stream(config.stream), Lines()
        state, helpers = start(config, build_method(config))
        evaluate(state, helpers, stream, config, lines, 0)
        by_task = []
        for column in (0, 1):
            kept = tuple(
                row for row in lines.questions if (row.column, row.split) == (column, "validation")
            )
            exam = Exam(tuple(Question.of(row.digest) for row in kept), kept)
            unknown = replace(exam.outcomes(), cloud_right=np.full(len(kept), np.nan))
            fitted = router("calibrated").fit(exam.evidence(0.0), unknown, config.budget)
            by_task.append(fitted.threshold)
        cells = state.matrix[0].tasks
        assert [cell.threshold for cell in cells] == by_task
        assert len({*by_task}) == 2
        found.append([(cell.threshold, cell.calibrated_system) for cell in cells])
        # A cloud that is always wrong is not asked where its answers were looked at.
        if recipe == "understudy":
            assert [cell.ask_rate for cell in cells] == [0, 0]
            assert all("it gained 0 and lost" in str(cell.never_asks) for cell in cells)
        else:
            assert [cell.never_asks for cell in cells] == [None, None]
    assert found[0] == found[1]


def test_the_cloud_is_asked_where_the_threshold_would_ask_and_that_is_counted(model: Path) -> None:
    """A model that knows nothing, and clouds that always or never gain."""
    settings: dict[str, Any] = {"calibration_queries": 64, "eval_queries": 64, "budget": 0.5}
    for accuracy, asks in ((1.0, True), (0.0, False)):
        config = config_of("understudy", model, cloud__accuracy=accuracy, **settings)
        stream, lines = load_stream(config.stream), Lines()
        state, helpers = start(config, build_method(config))
        evaluate(state, helpers, stream, config, lines, 0)
        for column, cell in enumerate(state.matrix[0].tasks):
            own = [row for row in lines.questions if row.column == column]
            asked = [row for row in own if row.split == "validation" and row.cost is not None]
            assert cell.validation_calls == len(asked) == LEAST_TESTED > most_above(64, 0.5, 0.9)
            if asks:
                assert cell.ask_rate > 0.2
                continue
            assert cell.ask_rate == 0
            assert cell.system == cell.local
        calls = sum(row.cost is not None for row in lines.questions)
        # A question that two tasks or both splits share is paid for once.
        assert helpers.examiner.spend.calls + helpers.examiner.spend.cache_hits == calls


def test_an_answer_does_not_depend_on_the_size_of_the_batch(model: Path) -> None:
    config = config_of("dagrpo", model)
    (state, helpers), stream = start(config, build_method(config)), load_stream(config.stream)
    alone, together = (
        rows_of(
            examine_stream(
                served(state),
                Examiner(helpers.tasks, MeteredCloud(helpers.cloud.cloud), rows=size),
                stream,
                config,
                Occasion("phase-0", "k"),
            )
        )
        for size in (1, 100)
    )
    assert [row.answer for row in alone] == [row.answer for row in together]
    assert [row.cloud_right for row in alone] == [row.cloud_right for row in together]
    for name in ("margin", "mean_entropy"):
        one, other = ([getattr(row, name) for row in found] for found in (alone, together))
        assert one == pytest.approx(other, abs=1e-4)


def test_a_row_says_what_happened_to_its_question(model: Path) -> None:
    config = config_of("dagrpo", model, cloud__faults__failure_rate=0.4)
    state, helpers = start(config, build_method(config))
    found = examined(state, helpers, config, "phase-0")
    assert [row.split for row in found] == 2 * (["validation"] * 8 + ["test"] * 6)
    assert [row.column for row in found] == [0] * 14 + [1] * 14
    tests = [row for row in found if row.split == "test"]
    assert all(row.cost is None and row.asked is None for row in found if row not in tests)
    assert all(row.cost is not None and row.cost.calls == 1 for row in tests)
    failed = [row for row in tests if row.cloud_right is None]
    assert 0 < len(failed) < len(tests)
    assert all(row.cost is not None and row.cost.completion_tokens == 0 for row in failed)
    threshold = -state.dual.shift
    assert [row.asked for row in tests] == [float(row.margin > threshold) for row in tests]
    assert all(row.mean_entropy > 0 and row.completion_tokens > 0 for row in found)
    drawn = helpers.tasks.exam(load_stream(config.stream)[0], 6, "test", "k")
    assert [row.digest for row in found[8:14]] == [each.question.digest for each in drawn]
    assert [ExaminedQuestion.from_json(row.to_json()) for row in found] == found


def test_a_cell_is_what_its_rows_say(model: Path) -> None:
    lines, state = trajectory(config_of("dagrpo", model))
    for matrix_row in state.matrix:
        name = f"phase-{matrix_row.after_phase}"
        for column, cell in enumerate(matrix_row.tasks):
            own = [
                row for row in lines.questions if (row.examination, row.column) == (name, column)
            ]
            tests = [row for row in own if row.split == "test"]
            right = [row.cloud_right if row.asked else row.local_right for row in tests]
            assert cell.system == pytest.approx(fmean(map(float, map(bool, right))))
            assert cell.ask_rate == pytest.approx(fmean(row.asked or 0.0 for row in tests))
            read = sum(row.prompt_tokens + row.completion_tokens for row in tests)
            assert cell.router_tokens == read


def test_a_row_per_phase_and_a_cell_per_task(model: Path) -> None:
    stream = [
        {"families": "facts", "levels": [1, 1], "steps": 1},
        {"families": "strings", "levels": [1, 2], "steps": 2, "budget": 0.5},
        {"families": "facts", "levels": [1, 1], "steps": 1},
    ]
    lines, state = trajectory(config_of("dagrpo", model, stream=stream))
    assert [(row.after_phase, row.step) for row in lines.rows] == [
        (0, 0),
        (1, 1),
        (2, 3),
        (3, 4),
    ]
    assert lines.rows == state.matrix
    assert all(len(row.tasks) == 3 for row in lines.rows)
    # A task that comes back is one column twice.
    assert all(row.tasks[0] == row.tasks[2] for row in lines.rows)
    # Its questions are kept once.
    assert len(lines.questions) == 4 * 2 * (8 + 6)
    # Each question of an examination is paid for once in the whole run: six of two tasks.
    assert lines.examined().calls <= 12
    assert lines.examined().cache_hits >= 3 * lines.examined().calls
