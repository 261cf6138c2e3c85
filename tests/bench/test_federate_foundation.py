"""The recipe of the small ViT: formula-driven pictures, resuming, and the probe's arithmetic."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch

from understudy.errors import ConfigError
from understudy.federate.foundations.loading import load_foundation
from understudy.federate.foundations.settings import FoundationSettings

BENCH = Path(__file__).parents[2] / "bench"
TINY = [
    f"--{name}={value}"
    for name, value in {
        "steps": 4,
        "batch": 3,
        "width": 16,
        "blocks": 2,
        "heads": 2,
        "patch": 8,
        "every": 2,
        "seed": 7,
    }.items()
]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import federate_foundation  # type: ignore[import-not-found]

    return federate_foundation


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import formula_pictures  # type: ignore[import-not-found]

    return formula_pictures


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import federate_probe  # type: ignore[import-not-found]

    return federate_probe


def test_views_of_one_formula_are_nearer_than_those_of_others(pictures: ModuleType) -> None:
    random = torch.Generator().manual_seed(0)
    formulas = pictures.draw_formulas(64, random)
    one, other = (pictures.draw_views(formulas, 32, random) for _ in range(2))
    assert one.shape == (64, 3, 32, 32)
    assert 0 <= one.min() < one.max() <= 1
    assert not torch.equal(one, other)
    assert one.flatten(1).std(dim=1).min() > 0.01  # none is empty
    light = torch.stack([one.mean(dim=1), other.mean(dim=1)])
    spread = light.flatten(2) - light.flatten(2).mean(dim=2, keepdim=True)
    spread = spread / spread.norm(dim=2, keepdim=True)
    assert bool(torch.isfinite(spread).all())
    again = pictures.draw_formulas(64, torch.Generator().manual_seed(0))
    assert torch.equal(again.harmonics, formulas.harmonics)


def test_maps_of_a_fractal_shrink(pictures: ModuleType) -> None:
    formulas = pictures.draw_formulas(32, torch.Generator().manual_seed(1))
    assert torch.linalg.matrix_norm(formulas.maps[..., :2], ord=2).max() < 0.851


def test_a_training_that_was_stopped_goes_on_to_the_same_numbers(
    recipe: ModuleType, tmp_path: Path
) -> None:
    whole = recipe.train(recipe.parsed([*TINY, "--out", str(tmp_path / "whole")]))
    stopped = [*TINY, "--out", str(tmp_path / "part")]
    recipe.train(recipe.parsed([*stopped, "--stop-after", "2"]))
    part = recipe.train(recipe.parsed(stopped))
    assert (whole.step, part.step) == (4, 4)
    for name, each in whole.model.state_dict().items():
        assert torch.equal(each, part.model.state_dict()[name])
    with pytest.raises(ConfigError, match="was trained with seed=7, not 8"):
        recipe.train(recipe.parsed([*stopped, "--seed", "8"]))
    recipe.write(part, tmp_path / "vit")
    assert json.loads((tmp_path / "vit" / "training.json").read_text())["options"]["steps"] == 4
    foundation = load_foundation(FoundationSettings(name=str(tmp_path / "vit")))
    assert (foundation.blocks, foundation.width) == (2, 16)


def test_the_loss_of_views_by_hand(recipe: ModuleType) -> None:
    """Two formulas at right angles: the loss is log(1 + exp(-1 / temperature))."""
    loss, found = recipe.contrastive_loss(torch.eye(2), 3 * torch.eye(2), 0.5)
    torch.testing.assert_close(loss, (1 + torch.tensor(-2.0).exp()).log())
    assert found == 1
    _, none = recipe.contrastive_loss(torch.eye(2), torch.eye(2).flip(0), 0.5)
    assert none == 0


def test_the_rate_rises_and_falls(recipe: ModuleType) -> None:
    rates = [recipe.rate(step, 100, 1.0) for step in range(100)]
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert all(one > other for one, other in pairwise(rates[5:]))
    assert rates[-1] < 0.001


def test_probes_find_what_is_there_and_nothing_else(probe: ModuleType) -> None:
    random = torch.Generator().manual_seed(0)
    label = torch.arange(300) % 3
    told = torch.randn(300, 6, generator=random) * 0.1
    told[torch.arange(300), label] += 1.0
    noise = torch.randn(300, 6, generator=random)
    for method in (probe.linear_probe, probe.nearest):
        for x, low, high in ((told, 1.0, 1.0), (noise, 0.1, 0.6)):
            sides = (x[:200], label[:200]), (x[200:], label[200:])
            assert low <= method(*sides, 3) <= high


def test_the_nearer_class_wins_among_equals(probe: ModuleType) -> None:
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    asked = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    label = torch.tensor([0, 1, 2])
    assert probe.nearest((known, label), (asked, torch.tensor([0, 1])), 3) == 1
