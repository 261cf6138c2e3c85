"""The routers of docs/extend.md, each one file found by its path: in training, eval and ask."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from tests.offload.runs import config_of, run_new
from understudy.offload.serve import TrainedModel
from understudy.recipes import saved_config
from understudy.routing import ROUTERS
from understudy.routing.evidence import Evidence, Generated
from understudy.routing.rows import ExaminedQuestion
from understudy.run import RunDirectory
from understudy.tasks import FAMILIES, draw_problem
from understudy.types import Options, Question

EXAMPLES = Path(__file__).parents[2] / "examples" / "extend"
ENTROPY = f"{EXAMPLES / 'router.py'}:MeanEntropy"
CASCADE = f"{EXAMPLES / 'cascade.py'}:Cascade"
QUESTION = draw_problem(FAMILIES["facts"], 1, "test", random.Random(0)).question


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that is served by mean entropy."""
    folder = tmp_path_factory.mktemp("router")
    sizes = {"eval_queries": 40, "calibration_queries": 40, "steps": 1}
    config = config_of("understudy", Path("tiny"), router=ENTROPY, budget=0.4, **sizes)
    return run_new(folder / "run", config)


def opened(run: RunDirectory, router: str | None = None) -> TrainedModel:
    return TrainedModel(run, saved_config(run), router)


def rows(run: RunDirectory, name: str, split: str = "test") -> list[ExaminedQuestion]:
    found = map(ExaminedQuestion.from_json, run.read_examination(name))
    return [row for row in found if row.split == split]


@pytest.mark.parametrize("name", ["router.py", "cascade.py"])
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 60


def test_a_run_is_examined_with_a_router_of_ones_own(run: RunDirectory) -> None:
    for row in run.read(run.matrix):
        for column, cell in enumerate(row["tasks"]):
            own = [r for r in rows(run, f"phase-{row['after_phase']}") if r.column == column]
            asked = [r.mean_entropy for r in own if r.asked]
            assert cell["ask_rate"] == pytest.approx(len(asked) / len(own))
            # Those that ask are the uncertain ones.
            assert min(asked, default=np.inf) > max(r.mean_entropy for r in own if not r.asked)


def test_it_answers_a_question_by_the_threshold_of_the_kept_rows(run: RunDirectory) -> None:
    with opened(run) as model:
        answer = model.answer(QUESTION)
        kept = [row.mean_entropy for row in rows(run, "phase-2", "validation")]
        assert model.router_of().threshold in kept
    assert answer.why.startswith("the mean entropy of its answer, ")
    assert (answer.answered_by == "cloud") == ("is above the threshold" in answer.why)
    assert (answer.cost.calls > 0) == (answer.answered_by == "cloud")


def test_another_router_is_examined_in_its_stead(run: RunDirectory) -> None:
    with opened(run, "random") as model:
        results = model.examine(30)
    assert [result.cell.ask_rate for result in results] == [0.4, 0.4]
    assert all(result.cell.router_tokens == 0 for result in results)


def test_a_cascade_pays_for_the_answers_that_it_draws(run: RunDirectory) -> None:
    with opened(run, CASCADE) as model:
        results = model.examine(30)
        examined = rows(run, f"eval-30-step-{model.step}")
        answer = model.answer(QUESTION)
    levels = {row.signals["disagreement"] for row in examined}
    assert levels <= {0.0, 1 / 3, 2 / 3, 1.0}
    assert len(levels) > 1
    for column, result in enumerate(results):
        own = [row for row in examined if row.column == column]
        draft = sum(row.prompt_tokens + row.completion_tokens for row in own)
        prompts = sum(row.prompt_tokens for row in own)
        assert result.cell.router_tokens > draft + 3 * prompts
        asked, not_asked = (
            [row.signals["disagreement"] for row in own if bool(row.asked) == wanted]
            for wanted in (True, False)
        )
        if asked and not_asked:
            assert min(asked) >= max(not_asked)
            assert fmean(asked) > fmean(not_asked)
    assert answer.why.startswith("the share of its answers that disagree, ")


def test_a_cascade_by_hand() -> None:
    router = ROUTERS.load(CASCADE)(ROUTERS.load(CASCADE).Settings(kind=CASCADE, samples=2))
    zeros, ones = np.zeros(2), np.ones(2, dtype=np.int64)
    questions = tuple(
        replace(Question.of(text), options=Options(stop=("\n",))) for text in ("2 + 2", "2 + 3")
    )
    evidence = Evidence(questions, ("so # 4", "# 5"), zeros, zeros, ones, ones, 0.0)
    answers = iter([("# 4", "# 6"), ("it is 4", "# 5")])
    seen: list[Options] = []

    def generate(asked: list[Question]) -> Generated:
        seen.extend(question.options for question in asked)
        return Generated(next(answers), 10, 4)

    gathered = router.gather(evidence, generate)
    assert router.scores(gathered).tolist() == [0.0, 0.5]
    # What ends the local model's answers ends these too.
    assert seen == [Options(temperature=1.0, seed=i, stop=("\n",)) for i in (0, 0, 1, 1)]
    assert (gathered.gathered.prompt_tokens, gathered.gathered.completion_tokens) == (20, 8)
