"""The gradient of what says when to ask, on the request's own row and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.offload.runs import config_of, first_experience
from understudy.objectives import sequence_ask_probability
from understudy.objectives.terms import AskTerm
from understudy.offload.learn import Objective, ask_pull, learn
from understudy.offload.request_row import request_row
from understudy.offload.team import ALONE


@pytest.mark.parametrize("backend", ["builtin", "transformers"])
@pytest.mark.parametrize("rank", [0, 2])
def test_the_row_has_the_gradient_of_the_whole_loss_and_all_else_has_none(
    rank: int, backend: str, model: Path
) -> None:
    config = config_of(
        "understudy", model, batch_size=4, lora__rank=rank, temperature=0.7, backend=backend
    )
    state, _, experience = first_experience(config, budget=0.5)
    policy, batch = state.policy, experience.batch
    row = request_row(policy)
    assert row is not None

    def loss(probability: torch.Tensor) -> torch.Tensor:
        return (probability - 0.4).square().sum()

    none = torch.zeros_like(experience.scores.reward)
    objective = Objective(experience, none, [AskTerm(loss, whole_model=False)])
    learn(policy, ALONE, objective, config)
    assert row.weight.grad is not None
    found = row.weight.grad.clone()
    others = [weight for weight in policy.trainable() if weight is not row.weight]
    assert all(weight.grad is None for weight in others)
    if row.place is not None:
        assert found.abs().sum(dim=1).nonzero().flatten().tolist() == [row.place]
        found = found[row.place]
    assert found.abs().max() > 0
    state.optimiser.zero_grad()
    _, slopes = ask_pull(objective, objective.ask_terms)
    rows = torch.arange(len(batch.drawn.mask))
    _, asking = policy.score(batch.prompts, batch.drawn, rows, batch.drawing)
    (slopes * sequence_ask_probability(asking, batch.drawn.mask)).sum().backward()
    whole = row.weight.grad
    assert whole is not None
    wanted = whole if row.place is None else whole[row.place]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
