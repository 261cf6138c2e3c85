"""The examples of methods and of a retention of one's own, loaded by path, train a tiny model."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import tensor

from tests.offload.runs import (
    Silent,
    StoppedError,
    config_of,
    drawn_figures,
    first_experience,
    results_of,
    run_new,
    run_on,
    saved_model,
    trajectory,
)
from understudy.offload.learn import read_portion
from understudy.offload.loop import objective_of
from understudy.offload.method import Dual
from understudy.offload.scores import Scores
from understudy.recipes import build_method, resolve_config
from understudy.run import RunDirectory

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "extend"
METHODS = {
    "method": f"{FOLDER / 'method.py'}:LeaveOneOut",
    "hint": f"{FOLDER / 'hint.py'}:Hint",
    "lapo": f"{FOLDER / 'lapo.py'}:Lapo",
    "dqo": f"{FOLDER / 'dqo.py'}:Dqo",
}
PULL = f"{FOLDER / 'retention.py'}:Pull"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("name", [*METHODS, "retention"])
def test_an_example_is_short(name: str) -> None:
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_one_s_own_trains_and_resumes_bit_for_bit(
    name: str, model: Path, tmp_path: Path
) -> None:
    config = config_of(METHODS[name], model, checkpoint_every=1)
    whole = run_new(tmp_path / "whole", config)
    assert any(line["grad_norm"] > 0 for line in whole.metric_lines())
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config, Silent(stop_at=4))
    assert results_of(run_on(RunDirectory.open(tmp_path / "run"), config)) == results_of(whole)


def test_leave_one_out_by_hand() -> None:
    method = build_method(resolve_config(METHODS["method"], None, ["price=0.5"]))
    asked = tensor([[0, 1, 0, 0], [1, 1, 0, 0]]).bool()
    scores = Scores(
        reward=tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]]),
        valid=tensor([[1, 1, 1, 1], [1, 0, 1, 1]]).bool(),
        **drawn_figures(asked),
        local_right=~asked,
        formed=~asked,
        cloud_right=tensor([True, True]),
        token_ask_probability=torch.zeros(8),
    )
    found = method.advantage(scores, Dual(price=0.5))
    # Worth 1, 0.5, 0, 0 against the mean of the other three; then 0.5, none, 1, 0 of two.
    assert found[0].tolist() == pytest.approx([1 - 0.5 / 3, 0.5 - 1 / 3, -0.5, -0.5])
    assert found[1].tolist() == pytest.approx([0.0, 0.0, 0.75, -0.75])


def test_a_hint_is_given_where_all_fail_and_is_not_in_what_is_learnt(model: Path) -> None:
    config = config_of(METHODS["hint"], model, batch_size=8, budget=0.0, hint__share=1.0)
    _, _, experience = first_experience(config)
    problems = experience.batch.problems
    assert experience.weight is not None
    redrawn = (experience.weight != 1).any(dim=1)
    assert 0 < int(redrawn.sum()) < 8
    assert (experience.weight[redrawn] == 0.5).all()
    _, _, first = first_experience(config_of("dagrpo", model, batch_size=8, budget=0.0))
    assert (first.scores.right.any(dim=1) == ~redrawn).all()
    kept = ~redrawn.repeat_interleave(4)
    width = first.batch.drawn.tokens.shape[1]
    for name in ("tokens", "mask", "logprobs"):
        ours, theirs = (getattr(one.batch.drawn, name) for one in (experience, first))
        assert torch.equal(ours[kept][:, :width], theirs[kept])
    assert torch.equal(experience.batch.prompts.ids, first.batch.prompts.ids)
    assert [problem.prompt for problem in first.batch.problems] == [q.prompt for q in problems]
    assert experience.scores.token_ask_probability.shape == (int(experience.scores.lengths.sum()),)


def test_the_length_in_the_prompt_follows_right_answers(model: Path) -> None:
    _, state = trajectory(config_of(METHODS["lapo"], model, batch_size=8, max_completion_length=12))
    method: Any = state.method
    start = 0.5 * 12
    moved = [level for level in range(6) if float(method.usual[level]) != start]
    assert moved
    assert all(level in (1, 2) for level in moved)


def test_answers_on_record_are_scored_as_training_scores_them() -> None:
    config = config_of(METHODS["dqo"], Path("tiny"), bf16=True)
    state, _, experience = first_experience(config)
    objective = objective_of(state, experience, 1)
    drawn = experience.batch.drawn
    read = read_portion(state.policy, objective, torch.arange(len(drawn.mask)))
    # In float32 they would lie apart by up to 0.1.
    assert torch.allclose(read.logprobs[drawn.mask], drawn.logprobs[drawn.mask], atol=1e-4)


def test_dqo_learns_values_from_answers_on_record_and_draws_nothing(model: Path) -> None:
    stream = [{"families": "facts", "levels": [1, 1], "steps": 60}]
    config = config_of(METHODS["dqo"], model, stream=stream, learning_rate=1e-3, batch_size=16)
    lines, state = trajectory(config)
    losses = [line["loss"] for line in lines.steps]
    assert statistics.mean(losses[-5:]) < 0.8 * statistics.mean(losses[:5])
    assert all(line["cloud/ask_rate"] == 0 for line in lines.steps)
    (head, *_) = state.method.parameters()
    assert float(head.detach().abs().max()) > 0


def test_a_retention_of_one_s_own_keeps_weights_near_the_last_switch(
    model: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"checkpoint_every": 1, "learning_rate": 0.02}

    def way(weight: float) -> float:
        config = config_of(
            "dagrpo", model, retention={"kind": PULL, "weight": weight}, steps=6, **settings
        )
        _, state = trajectory(config)
        then: Any = state.retention
        now = state.policy.tensors()
        _, at_switch = trajectory(config.model_copy(update={"stream": config.stream[:1]}))
        old = at_switch.policy.tensors()
        assert then.anchor.keys() == old.keys()
        return sum(float((now[name] - old[name]).detach().square().sum()) for name in old)

    assert way(5.0) < 0.5 * way(0.0)
    config = config_of("dagrpo", model, retention=PULL, **settings)
    whole = results_of(run_new(tmp_path / "whole", config))
    with pytest.raises(StoppedError):
        run_new(tmp_path / "run", config, Silent(stop_at=6))
    assert results_of(run_on(RunDirectory.open(tmp_path / "run"), config)) == whole
