"""Settings that must mean the same give one trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.offload.runs import config_of, first_experience, trajectory
from understudy.offload import portions
from understudy.offload.config import Config
from understudy.offload.loop import objective_of, update
from understudy.offload.portions import portions_of
from understudy.offload.start import start
from understudy.recipes import build_method


def same(first: Config, second: Config) -> None:
    """Both leave the same lines, to the precision of a float32."""
    one, other = (trajectory(config)[0] for config in (first, second))
    assert any(line["grad_norm"] > 0 for line in one.steps)
    assert len(one.steps) == len(other.steps)
    for a, b in zip(one.steps, other.steps, strict=True):
        for key in a:
            wanted = b[key]
            if isinstance(wanted, float):
                wanted = pytest.approx(wanted, rel=1e-4, abs=1e-5)
            assert a[key] == wanted, (a["step"], key)
    for before, after in zip(one.rows, other.rows, strict=True):
        for ours, theirs in zip(before.tasks, after.tasks, strict=True):
            for key in ("local", "cloud", "own_ask_rate"):
                assert getattr(ours, key) == getattr(theirs, key)


def gradient(config: Config) -> tuple[float, torch.Tensor]:
    """The first batch's loss, and its gradient as one vector."""
    state, helpers, experience = first_experience(config)
    learnt = update(state, helpers, objective_of(state, experience, 1), config)
    assert learnt["grad_norm"] > 0
    return learnt["loss"], torch.cat([p.grad.flatten() for p in state.policy.network.parameters()])


def test_a_price_of_nothing_leaves_gapg_without_its_filter(model: Path) -> None:
    # Easy facts are guessed: where every prompt has a right local response, none is filtered.
    settings: dict[str, Any] = {
        "stream": [{"families": "facts", "levels": [1, 1], "steps": 3}],
        "num_generations": 48,
        "reward__cloud": 0.3,
        "max_completion_length": 6,
    }
    free = config_of("dagrpo", model, price__initial=0.0, price__rate=0.0, **settings)
    gapg = config_of("gapg", model, price__filter_ratio=1e6, **settings)
    same(free, gapg)


def test_a_fixed_price_is_a_shaped_reward_that_nothing_divides(model: Path) -> None:
    fixed = config_of("dagrpo", model, price__initial=0.4, price__rate=0.0)
    shaped = config_of(
        "shaped", model, price__initial=0.4, scale_rewards="none", loss_type="dagrpo"
    )
    same(fixed, shaped)


def test_a_market_with_every_part_off_is_the_published_price(model: Path) -> None:
    published = config_of("dagrpo", model, price__initial=0.4, price__rate=0.1)
    off: dict[str, Any] = {"shift": False, "spare": False, "smoothing": 0.0, "gain": 0.0}
    off |= {"rule": "proportional-integral", "initial": 0.4, "rate": 0.1, "maximum": 100.0}
    off |= {"guide": 0.0, "anchor": 0.0}
    market = {f"price__{key}": value for key, value in off.items()}
    same(published, config_of("understudy", model, distill=0.0, retention="none", **market))


@pytest.mark.parametrize("recipe", ["grpo", "understudy"])
def test_a_large_batch_is_learnt_in_portions_with_the_same_gradient(
    recipe: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(recipe, model)
    state, helpers, experience = first_experience(config)
    batch, rows = experience.batch, torch.arange(len(experience.batch.drawn.mask))
    tokens = int(batch.drawn.mask.sum() + batch.prompts.mask.sum())
    at_once = tokens // 3
    whole = gradient(config)
    monkeypatch.setattr(portions, "tokens_kept", lambda *_: at_once)
    found = list(portions_of(state.policy, batch.prompts, batch.drawn, rows, config))
    assert len(found) > 2
    assert torch.cat(found).tolist() == rows.tolist()
    group = config.num_generations
    for part in found:
        read = batch.drawn.mask[part].sum() + batch.prompts.mask[(part // group).unique()].sum()
        assert int(read) <= at_once or len(part) == 1
    loss, slope = gradient(config)
    assert loss == pytest.approx(whole[0], rel=1e-4)
    torch.testing.assert_close(slope, whole[1], rtol=1e-3, atol=1e-6)
    helpers.close()


@pytest.mark.parametrize("loss_type", ["dagrpo", "grpo", "dapo", "dr_grpo"])
def test_the_first_update_has_a_ratio_of_one(loss_type: str, model: Path) -> None:
    # Scored one by one and drawn side by side, log-probabilities differ in their last bits.
    _, plain = gradient(config_of("dagrpo", model, loss_type=loss_type, max_grad_norm=1e9))
    _, ratio = gradient(
        config_of("dagrpo", model, loss_type=loss_type, epsilon=0.2, max_grad_norm=1e9)
    )
    assert torch.allclose(plain, ratio, rtol=1e-3, atol=1e-5 * float(plain.abs().max()))


def test_a_reference_that_is_the_model_itself_pulls_nowhere(model: Path) -> None:
    without = gradient(config_of("dagrpo", model, max_grad_norm=1e9))
    held = gradient(config_of("dagrpo", model, beta=10.0, max_grad_norm=1e9))
    assert held[0] == pytest.approx(without[0], rel=1e-5)
    assert torch.allclose(without[1], held[1], rtol=1e-3, atol=1e-5 * float(held[1].abs().max()))


def test_a_reference_pulls_back_once_the_model_has_moved(model: Path) -> None:
    free = trajectory(config_of("dagrpo", model))[1]
    held = trajectory(config_of("dagrpo", model, beta=100.0))[1]
    origin, _ = start(config_of("dagrpo", model), build_method(config_of("dagrpo", model)))

    def way(state: Any) -> float:
        pairs = zip(
            state.policy.network.parameters(), origin.policy.network.parameters(), strict=True
        )
        return float(sum((a - b).detach().square().sum() for a, b in pairs))

    assert way(held) < 0.9 * way(free)


def test_the_same_settings_repeat_and_another_seed_does_not(model: Path) -> None:
    first, again = (trajectory(config_of("understudy", model, seed=1))[0] for _ in range(2))
    assert first.steps == again.steps
    assert first.rows == again.rows
    assert trajectory(config_of("understudy", model, seed=2))[0].steps != first.steps
