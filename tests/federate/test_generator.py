"""What the generator makes: nothing changes at first, and each block gets its own."""

from __future__ import annotations

import pytest
import torch

from tests.federate.tiny import foundation
from understudy.errors import ConfigError
from understudy.federate.foundations.foundation import Target
from understudy.federate.generator import Generator, adapters_of, new_generator
from understudy.federate.generator_settings import GeneratorSettings

TARGETS = [Target(1, ("q", "k"), 6, (6, 2)), Target(4, ("q", "k"), 6, (6, 2))]


def generator(kind: str, seed: int = 0, targets: list[Target] = TARGETS) -> Generator:
    settings = GeneratorSettings(kind=kind, hidden=5)  # type: ignore[arg-type]
    return new_generator(3, targets, 2, settings, seed)


@pytest.mark.parametrize("kind", ["bottleneck", "trunk"])
def test_matrices_have_their_shapes_and_b_begins_at_zero(kind: str) -> None:
    made = generator(kind)(torch.randn(7, 3))
    assert list(made) == [1, 4]
    for a, b in made.values():
        assert (a.shape, b.shape) == ((7, 2, 6), (7, 8, 2))
        assert not b.any()
        assert a.std() > 0.1
    adapter = adapters_of(made, alpha=16)[1]
    assert adapter.scale == 8.0


@pytest.mark.parametrize("kind", ["bottleneck", "trunk"])
def test_before_training_the_frozen_network_is_as_it_was(kind: str) -> None:
    frozen = foundation()
    inputs = frozen.prepare(torch.rand(4, 3, 16, 16))
    targets = [frozen.target(block) for block in (0, 3)]
    made = new_generator(3, targets, 2, GeneratorSettings(kind=kind), 0)(torch.randn(4, 3))  # type: ignore[arg-type]
    assert torch.equal(frozen.features(inputs, adapters_of(made, 16)), frozen.features(inputs))


@pytest.mark.parametrize("kind", ["bottleneck", "trunk"])
def test_after_a_step_samples_and_blocks_differ(kind: str) -> None:
    network = generator(kind)
    features = torch.randn(7, 3)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        sum((b * torch.randn_like(b)).sum() for _, b in network(features).values()).backward()
        optimiser.step()
    made = network(features)
    assert not torch.allclose(made[1][1], made[4][1])
    assert not torch.allclose(made[1][1][0], made[1][1][1])
    rows = network(features[2:4])
    torch.testing.assert_close(rows[4][0], made[4][0][2:4])  # each sample by itself


def test_the_same_seed_begins_with_the_same_weights() -> None:
    one, other = generator("bottleneck"), generator("bottleneck")
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])
    assert not torch.equal(
        generator("bottleneck", 1).down["1"].weight,
        one.down["1"].weight,  # type: ignore[union-attr, index]
    )


def test_a_trunk_needs_blocks_of_one_shape() -> None:
    with pytest.raises(ConfigError, match="use bottleneck"):
        generator("trunk", targets=[TARGETS[0], Target(4, ("q",), 6, (6,))])


def test_a_setting_without_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="has no effect with kind=bottleneck"):
        GeneratorSettings(embedding=8)
