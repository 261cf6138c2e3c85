"""A retention may say what the model answers a task with: in examinations, and where it serves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.offload.runs import config_of, run_new
from understudy.offload.serve import TrainedModel
from understudy.recipes import saved_config
from understudy.run import RunDirectory
from understudy.types import Question

PER_PHASE = f"{Path(__file__).parent / 'per_phase.py'}:PerPhase"
QUESTIONS = ("capital of france =", "capital of italy =", "capital of spain =")


def answers_to_facts(run: RunDirectory, after: int) -> list[tuple[str, float]]:
    rows = run.read_examination(f"phase-{after}")
    return [(row["answer"], row["margin"]) for row in rows if row["column"] == 0]


def trained(model: Path, folder: Path, retention: str, phases: int = 2) -> RunDirectory:
    config = config_of("dagrpo", model, retention=retention, learning_rate=0.02, steps=4)
    config = config.model_copy(update={"stream": config.stream[:phases]})
    return run_new(folder, config)


def served(run: RunDirectory, task: str) -> list[float]:
    with TrainedModel(run, saved_config(run)) as model:
        before = {name: value.clone() for name, value in model.served.policy.tensors().items()}
        margins = [model.answer(Question.of(text), task).margin for text in QUESTIONS]
        after = model.served.policy.tensors()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        return margins


def test_every_task_is_answered_as_it_was_after_its_own_phase(model: Path, tmp_path: Path) -> None:
    kept = trained(model, tmp_path / "kept", PER_PHASE)
    plain = trained(model, tmp_path / "plain", "none")
    first = trained(model, tmp_path / "first", "none", phases=1)
    assert answers_to_facts(kept, 1) == answers_to_facts(plain, 1)
    assert answers_to_facts(kept, 2) == answers_to_facts(kept, 1)
    assert answers_to_facts(plain, 2) != answers_to_facts(plain, 1)
    facts, strings = served(kept, "facts"), served(kept, "strings")
    assert facts == pytest.approx(served(first, "facts"), rel=1e-4)
    assert facts != pytest.approx(served(plain, "facts"), rel=1e-2)
    assert strings == pytest.approx(served(plain, "strings"), rel=1e-4)
