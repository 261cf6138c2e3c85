"""Small networks: any size and channels, seeds, what padding and other samples must not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from understudy.errors import ConfigError
from understudy.federate.small import SMALL
from understudy.federate.small.making import new_small
from understudy.federate.small.network import SmallNetwork
from understudy.federate.small.residual import Residual
from understudy.federate.small.transformer import positions
from understudy.federate.small.words import hashed

PICTURES = ("residual", "depthwise", "transformer")
TEXTS = ["where is my card?", "no", "", "the rate of exchange is wrong " * 20]
KINDS: list[tuple[str, dict[str, Any], Any]] = [
    *((kind, {"width": 16}, torch.rand(4, 3, 12, 9)) for kind in PICTURES),
    ("words", {"width": 16, "longest": 12}, TEXTS),
    ("words", {"width": 16, "longest": 12, "reads": "attention"}, TEXTS),
]


def features(network: SmallNetwork, raw: Any) -> torch.Tensor:
    return network(network.prepare(raw))


def test_every_kind_that_ships_is_tried_here() -> None:
    assert {kind for kind, _, _ in KINDS} == set(SMALL)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 17, 30), (2, 1, 1)])
def test_pictures_of_any_size_and_channels(kind: str, shape: tuple[int, ...]) -> None:
    raw = torch.rand(3, *shape)
    network = new_small(kind, {"width": 32}, raw, seed=0)
    assert features(network, raw).shape == (3, 32)
    assert network.width == 32
    with pytest.raises(ConfigError, match=f"{shape[0]} channels"):
        network.prepare(torch.rand(3, shape[0] + 1, 8, 8))


@pytest.mark.parametrize(("kind", "options", "raw"), KINDS)
def test_a_sample_does_not_depend_on_the_others(
    kind: str, options: dict[str, Any], raw: Any
) -> None:
    network = new_small(kind, options, raw, seed=3)
    network.train()  # as in use, also in training
    together = features(network, raw)
    for row in range(4):
        alone = features(network, raw[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "options", "raw"), KINDS)
def test_the_seed_decides_the_weights(kind: str, options: dict[str, Any], raw: Any) -> None:
    before = torch.get_rng_state()
    one, same, other = (new_small(kind, options, raw, seed) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(features(one, raw), features(same, raw))
    assert not torch.equal(features(one, raw), features(other, raw))


@pytest.mark.parametrize(("kind", "options", "raw"), KINDS)
def test_networks_of_many_clients_can_be_computed_as_one(
    kind: str, options: dict[str, Any], raw: Any
) -> None:
    networks = [new_small(kind, options, raw, seed) for seed in range(3)]
    inputs = networks[0].prepare(raw)
    weights, buffers = stack_module_state(networks)  # type: ignore[arg-type]

    def one(weights: Any, buffers: Any, inputs: Any) -> Any:
        return functional_call(networks[0], (weights, buffers), (inputs,))

    found = vmap(one, in_dims=(0, 0, None))(weights, buffers, inputs)
    for network, each in zip(networks, found, strict=True):
        torch.testing.assert_close(each, network(inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "options", "raw"), KINDS)
def test_no_samples_are_prepared_as_none(kind: str, options: dict[str, Any], raw: Any) -> None:
    prepared = new_small(kind, options, raw, seed=0).prepare(raw[:0])
    assert [len(each) for each in prepared.values()] == [0]


@pytest.mark.parametrize(("kind", "options", "raw"), KINDS)
def test_all_of_it_is_learnt(kind: str, options: dict[str, Any], raw: Any) -> None:
    network = new_small(kind, options, raw, seed=0)
    features(network, raw).square().sum().backward()
    assert all(each.grad is not None for each in network.parameters())


def test_words_are_the_same_on_every_machine() -> None:
    assert hashed("A card, a CARD", 100) == [*hashed("a card", 100), *hashed(", a card", 100)]
    assert hashed("card", 4096) == [zlib_of("card")]
    assert len(hashed("", 10)) == 1


def zlib_of(word: str) -> int:
    """CRC-32 bit by bit, as its definition says."""
    value = 0xFFFFFFFF
    for byte in word.encode():
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return (value ^ 0xFFFFFFFF) % 4096 + 1


def test_words_beyond_the_longest_are_not_read() -> None:
    network = new_small("words", {"longest": 3}, TEXTS, seed=0)
    assert torch.equal(features(network, ["a b c d"]), features(network, ["a b c"]))
    assert not torch.equal(features(network, ["a b"]), features(network, ["a b c"]))


def test_a_place_of_a_picture_has_a_position_of_its_own() -> None:
    found = positions(5, 7, 16).flatten(1).T
    apart = torch.cdist(found, found) + torch.eye(35)
    assert apart.min() > 0.1


def test_it_can_be_a_resnet_18() -> None:
    """11.2 million parameters, as that one has without its last layer."""
    network = Residual(torch.rand(1, 3, 32, 32), width=512, stages=4, blocks=2)
    assert round(sum(each.numel() for each in network.parameters()) / 1e6, 1) == 11.2


OWN = """
import torch
from understudy.federate.small.network import SmallNetwork

def plain(raw, hidden=5):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(raw[0].numel(), hidden))

class Letters(SmallNetwork):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(26, 7)
    def prepare(self, raw):
        counts = [[text.count(chr(97 + i)) for i in range(26)] for text in raw]
        return {"counts": torch.tensor(counts).float()}
    def forward(self, inputs):
        return self.layer(inputs["counts"])

def letters(raw):
    return Letters()

def odd(raw, gives="number"):
    if gives == "number":
        return 3
    if gives == "error":
        raise KeyError("gone")
    if gives == "frozen":
        return torch.nn.Flatten()
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1))
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return str(path)


def test_ones_own_network(own: str) -> None:
    raw = torch.rand(2, 3, 4, 4)
    network = new_small(f"{own}:plain", {"hidden": 9}, raw, seed=0)
    assert network.width == features(network, raw).shape[1] == 9
    texts = new_small(f"{own}:letters", {}, TEXTS, seed=0)
    assert texts.width == features(texts, TEXTS).shape[1] == 7


@pytest.mark.parametrize(
    ("kind", "options", "raw", "said"),
    [
        ("odd", {}, torch.rand(2, 3, 4, 4), "returned a int"),
        ("odd", {"gives": "error"}, torch.rand(2, 3, 4, 4), "KeyError"),
        ("odd", {"gives": "frozen"}, torch.rand(2, 3, 4, 4), "no parameters"),
        ("odd", {"gives": "maps"}, torch.rand(2, 3, 4, 4), "give (n, width)"),
        ("odd", {"wrong": 1}, torch.rand(2, 3, 4, 4), "wrong"),
        ("plain", {}, [*TEXTS], "numel"),
        ("none", {}, TEXTS, "has no none"),
    ],
)
def test_what_a_network_must_not_be_is_refused_in_a_line(
    own: str, kind: str, options: dict[str, Any], raw: Any, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        new_small(f"{own}:{kind}", options, raw, seed=0)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "options", "raw", "said"),
    [
        ("residual", {"width": 6}, torch.rand(2, 1, 8, 8), "multiple of 4"),
        ("residual", {"widht": 8}, torch.rand(2, 1, 8, 8), "widht"),
        ("transformer", {"width": 24, "heads": 5}, torch.rand(2, 1, 8, 8), "heads=5"),
        ("depthwise", {}, TEXTS, "set small=words"),
        ("words", {}, torch.rand(2, 1, 8, 8), "reads texts"),
        ("words", {"reads": "backwards"}, TEXTS, "reads=backwards"),
        ("resdual", {}, TEXTS, "did you mean residual"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    kind: str, options: dict[str, Any], raw: Any, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        new_small(kind, options, raw, seed=0)
    assert said in str(refused.value)
