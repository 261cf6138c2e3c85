"""What leaves an agent is what is said to leave, and no more than it may."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

import pytest
import torch
from torch import Tensor

from understudy.actors.crew import Together
from understudy.actors.loop import run
from understudy.errors import ConfigError
from understudy.link.carrier import Carrier, Inbox, Message, Parcel
from understudy.settings import check_settings
from understudy.share.agent import Agent
from understudy.share.clock import moments_of
from understudy.share.codec import Codec
from understudy.share.learner import Learner, new_learner
from understudy.share.nets.stacked import NetShape
from understudy.share.population import begin_in_common, graph_of, populations_of
from understudy.share.reveals import leaving, messages_of_weights, reveals
from understudy.share.settings import ShareConfig
from understudy.tasks.instances import generated_instances

SMALL: dict[str, Any] = {
    "agents": 2,
    "tasks": 6,
    "epochs": 2,
    "train_per_class": 10,
    "validation_per_class": 6,
    "evaluate_every": 2,
    "width": 4,
    "keep_above": -1.0,
}


class Watched(Carrier):
    """A carrier that remembers what it was given."""

    def carry(self, round_: int, messages: Iterable[Message]) -> None:
        given = list(messages)
        self.given = [*getattr(self, "given", []), *given]
        super().carry(round_, given)


def ran(**settings: Any) -> tuple[ShareConfig, list[Agent], list[Message]]:
    config, data = ShareConfig(**SMALL | settings), generated_instances(per_class=50)
    populations, carrier = populations_of(config, data), Watched(graph_of(config, 0))
    begin_in_common([agent for row in populations for agent in row])
    run(Together(populations), [carrier], moments_of(config))
    return config, populations[0], carrier.given


MONOLITHIC: dict[str, Any] = {
    "learner": "monolithic",
    "tasks": 2,
    "jointly": False,
    "common_start": "never",
}
RECEIVER = {"mode": "receiver", "every": 1, "queries": 2}


@pytest.mark.parametrize(
    "settings",
    [
        MONOLITHIC,
        MONOLITHIC | {"share_data": RECEIVER},
        MONOLITHIC | {"share_data": RECEIVER | {"labels": "query", "among": "task"}},
        MONOLITHIC | {"share_data": {"mode": "simple", "every": 1}},
        MONOLITHIC | {"share_parameters": {"mode": "fedavg", "every": 1}},
        MONOLITHIC | {"share_parameters": {"mode": "fedcurv"}, "messages": {"top": 0.5}},
        {"share_modules": {"mode": "iou"}, "share_parameters": {"mode": "fedfish"}},
        {"share_modules": {"mode": "leep", "points": 2}, "messages": {"precision": "int8"}},
        {
            "share_modules": {"mode": "leep", "points": 2},
            "privacy": {"clip": 1.0, "clip_instances": 1.0, "noise": 0.5},
        },
    ],
)
def test_what_crosses_is_what_is_told(settings: dict[str, Any]) -> None:
    config, _, given = ran(**settings)
    told = list(leaving(config))
    crossed = {
        (message.kind, key.partition("|")[0])
        for message in given
        for parcel in message.parcels
        for key in parcel.arrays
    }

    def covers(kind: str, pattern: str, one: tuple[str, str]) -> bool:
        return kind == one[0] and fnmatch(one[1], pattern)

    assert [one for one in crossed if not any(covers(t.kind, t.arrays, one) for t in told)] == []
    assert [t for t in told if not any(covers(t.kind, t.arrays, one) for one in crossed)] == []
    assert reveals(config)[: len(told)] == ([t.sentence for t in told] or [])
    weights = [m for m in given if (m.sender, m.kind) == (0, "parameters")]
    if config.share_parameters.mode != "none":
        assert messages_of_weights(config) == len(weights)


def test_where_nothing_is_shared_nothing_leaves() -> None:
    assert reveals(ShareConfig()) == ["Nothing leaves an agent."]
    noisy = {"clip": 1.0, "noise": 1.0}
    assert reveals(ShareConfig(privacy=noisy)) == ["Nothing leaves an agent."]


def test_words_say_how_much_noise_hides() -> None:
    config = ShareConfig(
        tasks=10,
        epochs=100,
        learner="monolithic",
        jointly=False,
        common_start="never",
        share_parameters={"mode": "fedavg", "every": 50},
        privacy={"clip": 2.0, "noise": 10.0},
    )
    told = " ".join(reveals(config))
    # rho 0.02 and 0.4: 0.02 + 2 sqrt(0.02 ln 1e5) and 0.4 + 2 sqrt(0.4 ln 1e5)
    assert "epsilon 0.98 at delta 1e-05; the 20 of a run with epsilon 4.69." in told
    assert "scaled to a norm of 2 at most, with noise" in told
    assert "who does not know the seed" in told
    plain = config.model_copy(update={"privacy": ShareConfig().privacy})
    assert not any("epsilon" in sentence or "noise" in sentence for sentence in reveals(plain))


# What is done to it

SHAPE = NetShape("mlp", (64,), 4, 2, modular=False, width=8)


def guarding(**privacy: Any) -> tuple[Codec, Learner]:
    config = ShareConfig(privacy=privacy, share_parameters={"mode": "fedavg"})
    codec, learner = Codec(config, 7), new_learner(SHAPE, 0)
    codec.decoded(Inbox(), learner, lambda *_: None)
    return codec, learner


def sent(codec: Codec, arrays: dict[str, Tensor], kind: str = "parameters") -> dict[str, Tensor]:
    parcel = Parcel(arrays, sum(array.numel() for array in arrays.values()))
    messages = [Message(0, other, kind, (parcel,), 0) for other in (1, 2)]
    one, other = codec.encoded(messages)
    assert one.parcels[0] is other.parcels[0]  # neighbours that compare notes learn no more
    return dict(one.parcels[0].arrays)


def moved(learner: Learner, by: float) -> dict[str, Tensor]:
    """Its modules, further off by a vector of this norm."""
    weights = {name: learner.weights[name].clone() for name in learner.named("modules")}
    count = sum(weight.numel() for weight in weights.values())
    return {name: weight + by / count**0.5 for name, weight in weights.items()}


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return float(sum((one[name] - other[name]).square().sum() for name in one) ** 0.5)


def test_weights_are_told_in_steps_of_the_norm() -> None:
    codec, learner = guarding(clip=2.0)
    far = moved(learner, 5.0)
    lengths, left = [], []
    known = moved(learner, 0.0)
    for _ in range(4):
        told = sent(codec, far)
        lengths.append(round(distance(told, known), 3))
        left.append(round(distance(told, far), 3))
        known = told
    assert (lengths, left) == ([2.0, 2.0, 1.0, 0.0], [3.0, 1.0, 0.0, 0.0])


def test_noise_is_of_its_size_and_new_each_time() -> None:
    codec, learner = guarding(clip=0.5, noise=3.0)
    now = moved(learner, 0.0)
    first = torch.cat([array.flatten() for array in sent(codec, now).values()])
    plain = torch.cat([array.flatten() for array in now.values()])
    assert abs(float((first - plain).std()) / 1.5 - 1) < 0.17  # 288 numbers: four deviations
    second = sent(codec, now)
    assert not torch.equal(torch.cat([a.flatten() for a in second.values()]), first)
    again, _ = guarding(clip=0.5, noise=3.0)
    repeated = torch.cat([array.flatten() for array in sent(again, now).values()])
    assert torch.equal(repeated, first)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_tell_nothing_and_are_forgotten(bad: float) -> None:
    codec, learner = guarding(clip=0.5)
    known, broken = moved(learner, 0.0), moved(learner, 100.0)
    broken["modules.bias"][0, 0] = bad
    told = sent(codec, broken)
    assert not bool(told["modules.bias"].isfinite().all())
    for name, array in told.items():
        finite = array.isfinite()
        assert torch.equal(array[finite], known[name][finite])
    assert distance(sent(codec, moved(learner, 9.0)), known) == pytest.approx(0.5, abs=1e-3)


def test_of_a_module_only_what_is_used_leaves() -> None:
    codec, _ = guarding(clip=1.0)
    arrays = {
        "module.weight": torch.full((8, 8), 1.0),
        "module.bias": torch.full((8,), 1.0),
        "decoder": torch.ones(2, 8),
        "structure": torch.ones(5, 4),
        "classes": torch.tensor([1, 2]),
        "similarity": torch.tensor(0.5),
    }
    told = sent(codec, arrays, "modules")
    assert told.keys() == {"module.weight", "module.bias", "similarity"}
    assert float(told["similarity"]) == 0.5
    assert float(told["module.weight"].norm()) == pytest.approx((64 / 72) ** 0.5)


def test_every_instance_has_a_norm_of_its_own() -> None:
    codec, _ = guarding(clip_instances=1.0)
    x = torch.stack([torch.full((4,), 0.25), torch.full((4,), 3.0)])  # norms 0.5 and 6
    told = sent(codec, {"x": x, "label": torch.tensor([0, 1])}, "data")
    assert told["x"].tolist() == [[0.25] * 4, [0.5] * 4]
    assert told["label"].tolist() == [0, 1]
    weights = {"modules.weight": torch.full((4, 8, 8), 9.0)}
    assert torch.equal(sent(codec, weights)["modules.weight"], weights["modules.weight"])


def test_instances_without_a_norm_are_refused() -> None:
    codec, _ = guarding(clip_instances=1.0)
    with pytest.raises(ConfigError, match="clip_instances"):
        sent(codec, {"x": torch.ones(2, 4, dtype=torch.long)}, "data")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"privacy": {"noise": 1.0}}, "noise=1.0"),
        ({"privacy": {"clip": 0.0}}, "clip"),
        ({"privacy": {"clip": 1.0}, "share_parameters": {"mode": "fedcurv"}}, "fedcurv"),
    ],
)
def test_settings_that_hide_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        check_settings(ShareConfig, settings)
    assert "\n" not in str(error.value)


def test_a_run_with_noise_repeats_and_differs_from_one_without() -> None:
    found = []
    for privacy in ({"clip": 0.5, "noise": 0.01}, {"clip": 0.5, "noise": 0.01}, {}):
        shared = {"share_parameters": {"mode": "fedavg", "every": 1}, "privacy": privacy}
        _, agents, _ = ran(**MONOLITHIC, **shared)
        found.append(agents[0].learner.weights["modules.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
