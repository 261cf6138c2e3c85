"""A network of the user's own is trained, mixed and sent like those that are built in."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.actors.crew import Together
from understudy.actors.jobs import run_steps
from understudy.actors.loop import run
from understudy.errors import ConfigError
from understudy.link.carrier import Carrier, Inbox, Message, Parcel
from understudy.share.agent import Agent
from understudy.share.clock import moments_of
from understudy.share.fisher import fisher_of
from understudy.share.learner import Learner, add_candidate, new_learner
from understudy.share.nets.own import Own, load_own
from understudy.share.nets.stacked import NetShape, entrance
from understudy.share.population import begin_in_common, carriers_of, populations_of
from understudy.share.settings import ShareConfig
from understudy.share.tick import Tick
from understudy.share.training import Examples, Stack, Training, train
from understudy.tasks.instances import Instances, generated_instances

NETS = str(Path(__file__).with_name("nets.py"))
DATA = generated_instances(per_class=50)
BUILT_IN = NetShape("mlp", (8, 8), tasks=6, classes=2, modular=True, width=8)
NAMES = {"weight": "0.weight", "bias": "0.bias"}  # of the built-in mlp in a torch.nn.Sequential


def net(name: str, **options: Any) -> Own:
    return load_own(f"{NETS}:{name}", options, DATA.x)


def shape_with(own: Own, modular: bool = True) -> NetShape:
    layers = own.net.layers
    return replace(BUILT_IN, kind="own", own=own, modular=modular, layers=layers)


def examples_of(shape: NetShape, count: int, tasks: tuple[int, ...] = (4,)) -> Examples:
    generator = torch.Generator().manual_seed(count)
    task = torch.tensor(tasks)[torch.randint(len(tasks), (count,), generator=generator)]
    label = torch.randint(shape.classes, (count,), generator=generator)
    return Examples(entrance(shape, DATA.x[:count], 0), label, task)


def written_otherwise(learner: Learner, shape: NetShape) -> Learner:
    """The built-in learner's weights under the names of the user's module."""
    weights = {}
    for name, weight in learner.weights.items():
        kind, _, own = name.partition(".")
        named = f"{kind}.{NAMES[own]}" if kind in ("modules", "candidate") else name
        weights[named] = weight.clone()
    return Learner(shape, weights, learner.modules)


def logits(learner: Learner, examples: Examples) -> Tensor:
    batch = Examples(examples.x[None], examples.label[None], examples.task[None])
    return Stack([learner]).logits(batch, "exam", None)[0]


@pytest.mark.parametrize("modular", [True, False], ids=["modular", "monolithic"])
@pytest.mark.parametrize("vmaps", [True, False], ids=["vmapped", "one by one"])
def test_the_mlp_written_with_torchs_layers_is_the_built_in_one(vmaps: bool, modular: bool) -> None:
    """Its logits, its Fisher information, and its training with dropout."""
    built_in = new_learner(replace(BUILT_IN, modular=modular), 0)
    if modular:
        add_candidate(built_in, 4, 0)
    own = written_otherwise(built_in, shape_with(net("plain", vmaps=vmaps), modular))
    examples = examples_of(built_in.shape, 70)
    torch.testing.assert_close(examples_of(own.shape, 70).x, examples.x)
    torch.testing.assert_close(logits(own, examples), logits(built_in, examples))
    fishers = fisher_of(own, examples)
    for name, fisher in fisher_of(built_in, examples).items():
        other = fishers[f"modules.{NAMES[name.removeprefix('modules.')]}"]
        torch.testing.assert_close(other, fisher, rtol=1e-4, atol=1e-9)
    for learner in (built_in, own):
        lesson = "assimilate" if modular else "whole"
        train([Training(learner, examples, lesson, range(2), (7,))])  # type: ignore[arg-type]
    for weight, other in zip(built_in.weights.values(), own.weights.values(), strict=True):
        torch.testing.assert_close(other, weight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "convolution"])
def test_together_is_alone(name: str) -> None:
    shape = shape_with(net(name))
    learners = [new_learner(shape, seed) for seed in range(2)]
    for seed, learner in enumerate(learners):
        add_candidate(learner, 4, seed)
    alone = copy.deepcopy(learners)
    data = [examples_of(shape, count) for count in (30, 70)]

    def jobs(of: list[Learner]) -> list[Training]:
        pairs = enumerate(zip(of, data, strict=True))
        return [Training(*pair, "assimilate", range(2), (number,)) for number, pair in pairs]

    train(jobs(learners))
    for job in jobs(alone):
        train([job])
    for one, other in zip(learners, alone, strict=True):
        assert one.shape == other.shape
        for key, weight in one.weights.items():
            torch.testing.assert_close(weight, other.weights[key], rtol=1e-3, atol=1e-5, msg=key)


def test_a_layer_adds_its_modules_to_its_base() -> None:
    """By hand: 2 layers h <- 3 h + s (h + 1), monolithic, of the last of 8 rows."""
    shape = shape_with(net("residual"), modular=False)
    learner = new_learner(shape, 0)
    learner.weights["modules.scale"] = torch.tensor([[2.0], [0.5]])
    examples = examples_of(shape, 3, (1,))
    row = examples.x[:, -1]
    seen = 3 * (5 * row + 2) + 0.5 * (5 * row + 3)
    decoder = learner.weights["decoders.weight"][1], learner.weights["decoders.bias"][1]
    torch.testing.assert_close(logits(learner, examples), F.linear(seen, *decoder))


def test_modules_begin_by_their_seed() -> None:
    shape = shape_with(net("plain"))
    state = torch.get_rng_state()
    one, again, other = (new_learner(shape, seed).weights for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("modules.0.weight", "modules.0.bias"):
        assert torch.equal(one[name], again[name])
        everything = torch.cat([one[name], other[name]]).flatten(1)
        assert len(everything.unique(dim=0)) == 2 * 6  # all of them differ


def test_instances_enter_once() -> None:
    own = net("plain", width=4)
    before = own.net.entered  # type: ignore[attr-defined]
    x = DATA.x[:5]
    for _ in range(3):
        own.entrance(x)
    assert own.net.entered == before + 5  # type: ignore[attr-defined]
    assert own.entrance(x[:0]).shape == (0, 4)


def test_a_copy_is_the_same_net() -> None:
    own = net("plain")
    again = pickle.loads(pickle.dumps(own))
    assert again.net is own.net
    assert shape_with(again) == shape_with(own) == copy.deepcopy(shape_with(own))
    assert shape_with(net("plain", width=4)) != shape_with(own)


def ran(**settings: Any) -> tuple[list[Agent], Carrier]:
    config = ShareConfig(
        **{
            **{"agents": 3, "tasks": 6, "epochs": 2, "evaluate_every": 2},
            **{"train_per_class": 12, "validation_per_class": 8, "net": f"{NETS}:plain"},
            **settings,
        }
    )
    populations, carriers = populations_of(config, DATA), carriers_of(config)
    begin_in_common([agent for row in populations for agent in row])
    run(Together(populations), carriers, moments_of(config))
    return populations[0], carriers[0]


MODULE = 8 * 8 + 8


@pytest.mark.parametrize("mode", ["fedavg", "fedprox", "fedcurv", "fedfish"])
def test_its_weights_cross_the_edges(mode: str) -> None:
    agents, carrier = ran(learner="monolithic", share_parameters={"mode": mode, "every": 1})
    each = 4 * MODULE * (2 if mode == "fedcurv" else 1)
    assert dict(carrier.totals().floats) == {"parameters": 3 * 2 * 2 * 2 * each}
    for agent in agents:
        assert not agent.events
        assert not agent.accuracy.isnan().any()
        assert all(bool(weight.isfinite().all()) for weight in agent.learner.weights.values())


def test_its_modules_and_its_instances_cross_the_edges() -> None:
    agents, carrier = ran(
        keep_above=-1.0,
        share_modules={"mode": "leep", "points": 3, "tryout": 1},
        share_data={"mode": "receiver", "every": 1, "queries": 2, "neighbours": 1},
    )
    assert [agent.added for agent in agents] == [{4: 4, 5: 5}] * 3
    assert carrier.totals().floats["modules"] == 3 * 2 * MODULE
    assert carrier.totals().floats["data"] > 0
    assert not any(agent.events for agent in agents)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("other shape", "turns [2, 8] into [2, 5]"),
        ("no parameters", "no parameters to learn"),
        ("no module", "returned a list"),
        ("double", "is torch.float64; use float32"),
        ("batched", "set vmaps = False"),
        ("raises", "ValueError: no such weights"),
        ("text", "entrance gives str"),
        ("whole", "entrance gives torch.int64"),
        ("nan", "entrance gives values that are not finite"),
        ("one row", "entrance gives [1, 8] for 2 instances"),
        ("other base", "a base of [2, 2] and an input of [2, 8]"),
        ("features", "features() gives [2, 8, 1]"),
        ("no layers", "layers=0"),
        ("no net", "returned a str"),
    ],
)
def test_a_wrong_net_is_refused_in_a_line_before_anything_is_trained(fault: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ran(net=f"{NETS}:bad", net_options={"fault": fault})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("word", [9, -1])
def test_words_that_it_does_not_know_are_refused(word: int) -> None:
    data = Instances((DATA.x * 8).long(), DATA.label)
    wanted = {"agents": 2, "tasks": 2, "train_per_class": 8, "validation_per_class": 8}
    config = ShareConfig(
        **wanted,  # type: ignore[arg-type]
        net=f"{NETS}:words",
        share_data={"mode": "receiver", "every": 2},  # type: ignore[arg-type]
    )
    agent = populations_of(config, data)[0][0]
    run_steps([agent.step(Tick(0, 0, 0, 0, 0), Inbox())])
    arrays = {"x": data.x[:2].clone(), "label": data.label[:2]}
    assert agent.holds_instances(arrays)
    arrays["x"] = arrays["x"].clone()  # what has entered is not looked at again
    arrays["x"][1, 0, 0] = word
    message = Message(1, 0, "data", (Parcel(arrays, 1),), 0)
    run_steps([agent.step(Tick(0, 0, 1, 0, 0), Inbox((message,)))])
    assert dict(agent.events) == {("other shapes", "data"): 1}
    wrong = Instances(data.x.clone(), data.label)
    wrong.x[2:] = word  # but for those that the net is tried with
    with pytest.raises(ConfigError, match=r"net '.*:words': IndexError"):
        populations_of(config, wrong)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"net": "resnet"}, "net=resnet is unknown"),
        ({"net": "mlp", "net_options": {"width": 3}}, "leave them out"),
    ],
)
def test_settings_that_name_no_net_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ShareConfig(**settings)
