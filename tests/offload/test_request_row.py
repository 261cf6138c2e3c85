"""The gradient of what says when to ask, on the request's own row and nowhere else."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from tests.models.small import write_checkpoint
from tests.offload.runs import config_of, first_experience
from understudy.objectives import sequence_ask_probability
from understudy.objectives.terms import AskTerm
from understudy.offload.learn import Objective, ask_pull, learn
from understudy.offload.request_row import request_row
from understudy.offload.start import start
from understudy.offload.team import ALONE
from understudy.recipes import build_method


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


def test_a_run_says_where_the_guide_trains_the_whole_model_after_all(tmp_path: Path) -> None:
    """Gemma 2 caps its logits, and the row of a head with a bias is frozen beside adapters."""
    for kind, rank, said in (("gemma2", 0, 1), ("phi", 2, 1), ("llama", 2, 0)):
        model = write_checkpoint(tmp_path / kind, kind)
        config = config_of("understudy", model, lora__rank=rank)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            state, _ = start(config, build_method(config))
        texts = [str(each.message) for each in caught]
        assert sum("the guide trains all that learns" in text for text in texts) == said, kind
        assert (request_row(state.policy) is None) == bool(said)
        given = config.model_copy(
            update={"price": config.price.model_copy(update={"guide_trains": "model"})}
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*the guide trains")
            start(given, build_method(given))
