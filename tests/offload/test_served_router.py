"""The router that a run is served with: fitted per task, on what the examination kept."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.offload.runs import config_of, run_new
from understudy.errors import RunError
from understudy.offload.config import Config
from understudy.offload.serve import TrainedModel
from understudy.recipes import saved_config
from understudy.routing.evidence import Evidence, Generate
from understudy.routing.router import ThresholdRouter
from understudy.routing.rows import ExaminedQuestion
from understudy.run import RunDirectory
from understudy.types import Question

BUDGETS = {"facts": 0.5, "strings": 0.3}
NEVER = 1e4


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    stream = [
        {"families": name, "levels": [1, 2], "steps": 1, "budget": budget}
        for name, budget in BUDGETS.items()
    ]
    sizes = {"calibration_queries": 64, "eval_queries": 64}
    config = config_of("understudy", model, stream=stream, cloud__accuracy=0.9, **sizes)
    return run_new(tmp_path_factory.mktemp("served") / "run", config)


def rows(run: RunDirectory, task: str, split: str) -> list[ExaminedQuestion]:
    found = map(ExaminedQuestion.from_json, run.read_examination("phase-2"))
    return [row for row in found if (row.task, row.split) == (task, split)]


@pytest.mark.parametrize("task", list(BUDGETS))
def test_a_question_is_asked_by_the_threshold_that_its_task_was_examined_with(
    run: RunDirectory, task: str
) -> None:
    with TrainedModel(run, saved_config(run)) as model:
        router = model.router_of(task)
        answer = model.answer(Question.of("3+4"), task)
        last = model.router_of()
    assert router.threshold == answer.threshold
    asked = [bool(row.asked) for row in rows(run, task, "test")]
    assert asked == [row.margin > router.threshold for row in rows(run, task, "test")]
    assert any(asked)
    assert (router == last) == (task == "strings")
    assert getattr(router, "budget", None) == BUDGETS[task]


def test_a_task_on_which_the_cloud_loses_is_not_sent_to_it(run: RunDirectory) -> None:
    """It gains on the other, and the losing task's questions want to leave most."""
    rng = np.random.default_rng(0)

    def verdicts(row: ExaminedQuestion) -> ExaminedQuestion:
        losing = row.task == "strings"
        local, cloud = rng.random(2) < ((0.9, 0.3) if losing else (0.5, 0.95))
        known = None if row.cost is None else bool(cloud)
        return replace(
            row, margin=row.margin + 50 * losing, local_right=bool(local), cloud_right=known
        )

    kept = [ExaminedQuestion.from_json(each) for each in run.read_examination("phase-2")]
    run.write_examination("phase-2", [verdicts(row).to_json() for row in kept])
    try:
        with TrainedModel(run, saved_config(run)) as model:
            thresholds = [model.router_of(task).threshold for task in ("facts", "strings")]
    finally:
        run.write_examination("phase-2", [row.to_json() for row in kept])
    assert thresholds[0] < NEVER == thresholds[1]


class Reads(ThresholdRouter):
    """Scores by what stands before the question and what ends its answer."""

    gathers: ClassVar = ("turns", "stops")

    def gather(self, evidence: Evidence, generate: Generate) -> Evidence:
        turns = np.array([float(len(each.messages)) for each in evidence.questions])
        stops = np.array([float(len(each.options.stop)) for each in evidence.questions])
        return replace(evidence, signals={"turns": turns, "stops": stops})

    def scores(self, evidence: Evidence) -> Any:
        return 10 * evidence.signals["turns"] + evidence.signals["stops"]


def labelled(folder: Path, model: Path, router: str) -> Config:
    given = [{"text": f"{i}+{i}", "label": "12"[i % 3 == 0]} for i in range(200)]
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    data = {"mine": {"path": str(path), "form": "label", "instruction": "", "examples": 2}}
    stream = [{"families": "mine", "steps": 1}]
    return config_of("dagrpo", model, data=data, stream=stream, router=router)


def test_a_router_generates_from_what_the_local_model_is_asked(tmp_path: Path, model: Path) -> None:
    """After two worked examples of two turns, with the string that ends a label."""
    config = labelled(tmp_path, model, f"{__file__}:Reads")
    run = run_new(tmp_path / "run", config)
    kept = map(ExaminedQuestion.from_json, run.read_examination("phase-1"))
    assert {tuple(row.signals.values()) for row in kept} == {(5.0, 1.0)}
    with TrainedModel(run, config) as served:
        assert "score, 51.00, is" in served.answer(Question.of("3+4")).why


def test_what_is_not_asked_is_said_with_its_reason(tmp_path: Path, model: Path) -> None:
    """Eight questions are too few for a budget of 0.1."""
    config = config_of("understudy", model, budget=0.1)
    run = run_new(tmp_path / "run", config)
    with TrainedModel(run, config) as served, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        served.examine(8)
        with pytest.raises(RunError, match="this run knows facts, strings"):
            served.answer(Question.of("3+4"), "sums")
    assert [str(each.message).split(";")[0] for each in said] == [
        f"no question of {task} is sent to the cloud: 8 validation questions are too few to hold "
        "a budget of 0.1"
        for task in ("facts", "strings")
    ]
