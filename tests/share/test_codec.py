"""What leaves an agent packed arrives as it was, up to what its settings say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from understudy.actors.crew import Together
from understudy.actors.loop import run
from understudy.actors.packing import packed, unpacked
from understudy.errors import ConfigError
from understudy.link.carrier import Carrier, Inbox, Message, Outcome, Parcel
from understudy.link.graph import Edge, Graph
from understudy.settings import check_settings
from understudy.share.agent import Agent
from understudy.share.clock import moments_of
from understudy.share.codec import Codec
from understudy.share.learner import new_learner
from understudy.share.nets.stacked import ABSENT, NetShape
from understudy.share.population import begin_in_common, carriers_of, populations_of
from understudy.share.settings import ShareConfig
from understudy.tasks.instances import generated_instances

FEDAVG = {"share_parameters": {"mode": "fedavg"}}
LEARNER = new_learner(NetShape("mlp", (64,), 4, 2, modular=False, width=8), 0)


def codec(seed: int = 0, **messages: Any) -> Codec:
    return Codec(ShareConfig(messages=messages, **FEDAVG), seed)


def weights(seed: int = 0) -> dict[str, Tensor]:
    luck = torch.Generator().manual_seed(seed)
    return {
        "modules.weight": torch.randn(4, 8, 8, generator=luck),
        "modules.bias": torch.randn(4, 8, generator=luck),
    }


def message(arrays: dict[str, Tensor], kind: str = "parameters", round_: int = 0) -> Message:
    floats = sum(array.numel() for array in arrays.values())
    return Message(0, 1, kind, (Parcel(arrays, floats),), round_)


def refused(what: str, message: Message) -> None:
    raise AssertionError(f"{what}: {message.kind}")


def across(sent: Message, one: Codec, other: Codec) -> dict[str, Tensor]:
    (leaves,) = one.encoded([sent])
    (arrives,) = other.decoded(Inbox((leaves,)), LEARNER, refused)
    return dict(arrives.parcels[0].arrays)


def test_what_is_not_to_be_packed_leaves_and_arrives_untouched() -> None:
    sent = message(weights())
    assert codec().encoded([sent]) == [sent]
    assert list(codec().decoded(Inbox((sent,)), LEARNER, refused)) == [sent]


@pytest.mark.parametrize(
    ("precision", "bytes_", "floats"),
    [("float16", 2 * 288, 144), ("int8", 256 + 8 * 4 + 32 + 8 * 4, 88)],
)
def test_a_packed_parcel_costs_what_it_takes(precision: str, bytes_: int, floats: int) -> None:
    (leaves,) = codec(precision=precision).encoded([message(weights())])
    assert (leaves.bytes, leaves.floats) == (bytes_, floats)  # of 4 * 288 bytes and 288 floats
    back = across(message(weights()), codec(precision=precision), codec(precision=precision))
    for name, plain in weights().items():
        assert back[name].dtype == torch.float32
        assert 0 < float((back[name] - plain).abs().max()) < (plain.max() - plain.min()) / 250


def test_a_price_in_floats_is_rounded_up() -> None:
    sent = Message(0, 1, "data", (Parcel({"x": torch.zeros(1, 40)}, 7),), 0)
    (leaves,) = codec(precision="int8").encoded([sent])
    assert (leaves.bytes, leaves.floats) == (48, 3)  # 7 * 48 / 160 = 2.1


def test_numbers_that_decide_cross_as_they_are() -> None:
    arrays = {
        "module.weight": torch.randn(8, 8),
        "decoder": torch.randn(2, 8),
        "structure": torch.tensor([[0.1, ABSENT], [ABSENT, 0.2]]),
        "classes": torch.tensor([3, 500]),
        "similarity": torch.tensor(-0.123),
    }
    for precision in ("float16", "int8"):
        back = across(
            message(arrays, "modules"), codec(precision=precision), codec(precision=precision)
        )
        for name in ("structure", "classes", "similarity"):
            assert torch.equal(back[name], arrays[name])
        assert not torch.equal(back["module.weight"], arrays["module.weight"])


def test_weights_are_rounded_at_random_and_instances_alike() -> None:
    one = codec(precision="int8")
    first, second = (across(message(weights()), one, codec(precision="int8")) for _ in range(2))
    assert not torch.equal(first["modules.weight"], second["modules.weight"])
    sent = {"x": torch.rand(3, 40), "label": torch.arange(3)}
    first, second = (across(message(sent, "data"), one, codec(precision="int8")) for _ in range(2))
    assert torch.equal(first["x"], second["x"])
    assert torch.equal(first["label"], sent["label"])


def test_only_what_changed_most_is_sent_once_something_arrived() -> None:
    one, other, now = codec(top=0.1), codec(top=0.1), weights()
    assert across(message(now), one, other).keys() == now.keys()
    changed = {name: array.clone() for name, array in now.items()}
    changed["modules.weight"][2, 3, 4] += 1
    changed["modules.bias"] += torch.arange(32).view(4, 8)
    (whole,) = one.encoded([message(changed, round_=1)])
    assert whole.bytes == 4 * 288  # nothing is known to have arrived
    arrived = Outcome(1, "parameters", 0, "arrives")
    one.decoded(Inbox((), (arrived,)), LEARNER, refused)
    (leaves,) = one.encoded([message(changed, round_=2)])
    # one place of 256 as a number, 4 of 32 as bits
    assert leaves.bytes == (4 + 4) + (4 + 4 * 4)
    assert leaves.floats == 7  # 288 * 28 / 1152 = 7
    (arrives,) = other.decoded(Inbox((leaves,)), LEARNER, refused)
    back = arrives.parcels[0].arrays
    assert torch.equal(back["modules.weight"], changed["modules.weight"])
    assert torch.equal(back["modules.bias"].flatten()[28:], changed["modules.bias"].flatten()[28:])
    assert torch.equal(back["modules.bias"].flatten()[:28], now["modules.bias"].flatten()[:28])


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    "edge", [{}, {"loss": 0.4}, {"bandwidth": 40}, {"every": 3, "latency": 2, "loss": 0.2}]
)
def test_a_sender_knows_what_its_neighbour_has(precision: str, edge: dict[str, Any]) -> None:
    """However messages fare: what the sender holds for arrived is what the receiver has, and
    weights that stand still are all there in the end."""
    one, other = (codec(top=0.2, precision=precision) for _ in range(2))
    carrier, now = Carrier(Graph(2, {(0, 1): Edge(**edge)})), weights()
    moves = torch.Generator().manual_seed(1)
    for round_ in range(160):
        inboxes = carrier.deliver(round_)
        one.decoded(inboxes[0], LEARNER, refused)
        other.decoded(inboxes[1], LEARNER, refused)
        if round_ < 40:
            now = {k: w + 0.1 * torch.randn(w.shape, generator=moves) for k, w in now.items()}
        sent = [message(now, round_=round_)] if round_ < 140 else []
        carrier.carry(round_, one.encoded(sent))
        assert all(len(kept) <= 3 for kept in one.memory["sent"].values())
    known, has = one.memory["arrived"][1], other.memory["received"][0]
    near = 0.0 if precision == "float32" else 0.01
    for name, array in now.items():
        assert torch.equal(known[name], has[name])
        assert float((has[name] - array).abs().max()) <= near


def test_what_a_codec_remembers_is_kept_and_goes_on() -> None:
    one, again = (codec(top=0.2, precision="int8") for _ in range(2))
    one.encoded([message(weights())])
    one.decoded(Inbox((), (Outcome(1, "parameters", 0, "arrives"),)), LEARNER, refused)
    again.memory = unpacked(packed(one.memory))
    sent = message(weights(1), round_=1)
    (first,), (second,) = one.encoded([sent]), again.encoded([sent])
    assert first.parcels[0].arrays.keys() == second.parcels[0].arrays.keys()
    assert all(
        torch.equal(a, second.parcels[0].arrays[k]) for k, a in first.parcels[0].arrays.items()
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"x|codes": torch.zeros(2, 3, dtype=torch.uint8), "x|low": torch.zeros(2)},
        {
            "x|codes": torch.zeros(2, 3, dtype=torch.uint8),
            "x|low": torch.zeros(1),
            "x|step": torch.zeros(1),
        },
        {
            "modules.bias|places": torch.tensor([32], dtype=torch.int32),
            "modules.bias": torch.ones(1),
        },
        {
            "modules.bias|places": torch.tensor([-1], dtype=torch.int32),
            "modules.bias": torch.ones(1),
        },
        {
            "modules.bias|places": torch.tensor([1], dtype=torch.int32),
            "modules.bias": torch.ones(2),
        },
        {"modules.bias|places": torch.tensor([1.0]), "modules.bias": torch.ones(1)},
        {"unknown|places": torch.tensor([1], dtype=torch.int32), "unknown": torch.ones(1)},
        {"modules.bias|places": torch.tensor([1], dtype=torch.int32)},
    ],
)
def test_what_does_not_unpack_is_noted_and_not_kept(broken: dict[str, Tensor]) -> None:
    other, noted = codec(top=0.5, precision="int8"), []
    across(message(weights()), codec(top=0.5, precision="int8"), other)
    before = other.memory["received"][0]
    found = other.decoded(
        Inbox((message(broken),)), LEARNER, lambda what, message: noted.append(what)
    )
    assert (list(found), noted) == ([], ["not unpacked"])
    assert other.memory["received"][0] is before


# Whole populations

SMALL: dict[str, Any] = {
    "agents": 3,
    "tasks": 2,
    "epochs": 4,
    "train_per_class": 12,
    "validation_per_class": 8,
    "evaluate_every": 2,
    "width": 8,
    "learner": "monolithic",
    "jointly": False,
    "common_start": "never",
    "share_parameters": {"mode": "fedavg", "every": 1},
}


def ran(**settings: Any) -> tuple[list[Agent], Carrier]:
    config = ShareConfig(**SMALL | settings)
    data = generated_instances(per_class=50)
    populations, carriers = populations_of(config, data), carriers_of(config)
    begin_in_common([agent for row in populations for agent in row])
    run(Together(populations), carriers, moments_of(config))
    return populations[0], carriers[0]


def test_a_population_that_sends_all_changes_learns_what_one_that_sends_all_does() -> None:
    (plain, dear), (sparse, cheap) = ran(), ran(messages={"top": 1.0})
    for one, other in zip(plain, sparse, strict=True):
        for name, weight in one.learner.weights.items():
            assert torch.equal(weight, other.learner.weights[name])
    assert cheap.totals().fates == dear.totals().fates


def test_a_population_that_says_less_spends_less() -> None:
    spent = []
    for messages in ({}, {"precision": "int8"}, {"precision": "int8", "top": 0.1}):
        agents, carrier = ran(messages=messages)
        assert all(bool(w.isfinite().all()) for a in agents for w in a.learner.weights.values())
        assert not any(agent.events for agent in agents)
        spent.append((carrier.totals().bytes["parameters"], carrier.totals().floats["parameters"]))
    plain, packed_, sparse = spent
    assert plain[0] == 4 * plain[1] == 4 * 3 * 2 * 8 * 288
    assert packed_ == (3 * 2 * 8 * 352, 3 * 2 * 8 * 88)
    assert sparse[0] < packed_[0] / 2
    assert sparse[1] < packed_[1] / 2


def test_a_share_of_weights_that_nobody_sends_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"messages\.top=0\.1.*share_parameters\.mode"):
        check_settings(ShareConfig, {"messages": {"top": 0.1}})
    with pytest.raises(ConfigError, match=r"messages\.top"):
        check_settings(ShareConfig, {"messages": {"top": 0.0}, **FEDAVG})
