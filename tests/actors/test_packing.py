"""What is packed comes back the same; what is broken or strange is refused in one line."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.actors.same import same
from understudy.actors.crew import Together
from understudy.actors.loop import run
from understudy.actors.packing import PackingError, packed, unpacked
from understudy.actors.saved import load_states, save_states
from understudy.errors import CheckpointError
from understudy.link.carrier import Inbox, Message, Outcome, Parcel
from understudy.share.agent import Agent
from understudy.share.clock import moments_of
from understudy.share.learner import Learner
from understudy.share.nets.own import load_own
from understudy.share.penalties import Curvature, Proximal
from understudy.share.population import begin_in_common, carriers_of, populations_of
from understudy.share.settings import ShareConfig
from understudy.share.tick import Tick
from understudy.tasks.instances import Instances, generated_instances

SMALL: dict[str, Any] = {
    "agents": 2,
    "tasks": 6,
    "epochs": 2,
    "train_per_class": 8,
    "validation_per_class": 8,
    "evaluate_every": 1,
    "width": 8,
    "keep_above": -1.0,
    "share_parameters": {"mode": "fedcurv", "every": 1},
    "share_modules": {"mode": "leep", "points": 2},
    "share_data": {"mode": "receiver", "every": 1, "queries": 2},
    "graph": {"bandwidth": 300},
}


@pytest.fixture(scope="module")
def data() -> Instances:
    return generated_instances(per_class=50)


def message(**arrays: torch.Tensor) -> Message:
    return Message(0, 1, "data", (Parcel(arrays, 3),), 7, trims=True)


def test_a_message_of_every_sort_of_array_comes_back_bit_for_bit() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    arrays = {
        "transposed": whole.T,
        "view": whole[1:],
        "nothing": torch.zeros(0, 4),
        "scalar": torch.tensor(float("nan")),
        "labels": torch.tensor([1, 2]),
        "half": torch.ones(3, dtype=torch.float16),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
        "signs": torch.tensor([True, False]),
    }
    inbox = Inbox((message(**arrays),), (Outcome(1, "data", 3, "trimmed"),))
    back = unpacked(packed((Tick(1, 2, 3, 4, 5), inbox)), tuple[Tick, Inbox])
    assert same(back, (Tick(1, 2, 3, 4, 5), inbox))
    assert back[1].messages[0].bytes == inbox.messages[0].bytes


def test_an_array_that_occurs_twice_crosses_once() -> None:
    array = torch.zeros(10_000)
    blob = packed([message(x=array), message(x=array)])
    assert len(blob) < 1.1 * 40_000
    back = unpacked(blob, list[Message])
    assert back[0].parcels[0].arrays["x"] is back[1].parcels[0].arrays["x"]


def test_plain_values_keep_their_types() -> None:
    content = {
        ("a", "b"): Counter({("not finite", "data"): 2}),
        3: [math.nan, math.inf, -0.0, 0.1, True, None, 10**30],
        "proximal": Proximal({"w": torch.ones(1)}, 0.1, True),
        "curvature": Curvature({"w": (torch.ones(1), torch.zeros(1))}, 0.1),
        "empty": [{}, [], (), Counter()],
    }
    back = unpacked(packed(content))
    assert same(back, content)
    assert math.copysign(1, back[3][2]) == -1
    assert same(unpacked(packed(back["empty"])), [{}, [], (), Counter()])


def test_a_run_goes_on_from_saved_states_as_if_nothing_had_been(
    data: Instances, tmp_path: Path
) -> None:
    """In the middle of a task that tries out a candidate, with messages waiting on narrow edges."""
    config = ShareConfig(**SMALL)

    def begun() -> tuple[list[list[Agent]], list[Any]]:
        populations, carriers = populations_of(config, data), carriers_of(config)
        begin_in_common([agent for row in populations for agent in row])
        return populations, carriers

    moments, path = moments_of(config), tmp_path / "states.safetensors"
    middle = next(n for n, each in enumerate(moments) if each[0][0] == Tick(4, 1, 0, 0, 1))
    populations, carriers = begun()
    crew = Together(populations)

    def watch(now: int) -> None:
        if now == middle:
            save_states(
                path, {"agents": crew.states(), "carriers": [each.state() for each in carriers]}
            )

    run(crew, carriers, moments, watch)
    states = load_states(path)
    learner = states["agents"][0][0]["learner"]
    assert isinstance(learner, Learner)
    assert learner.moments
    assert "candidate.weight" in learner.weights
    assert any(states["carriers"][0]["_waiting"].values())
    others, again = begun()
    other = Together(others)
    other.restore(states["agents"])
    for carrier, state in zip(again, states["carriers"], strict=True):
        carrier.restore(state)
    run(other, again, moments, start=middle + 1)
    assert same(other.states(), crew.states())
    assert again[0].totals() == carriers[0].totals()


def tampered(change: Any) -> bytes:
    """A packed message whose JSON says something else."""
    tree = ["record", "Parcel", {"arrays": ["dict", ["x", ["array", "0"]]], "floats": 1}]
    told = json.dumps(change(tree)).encode()
    arrays = {"0": torch.zeros(2), "content": torch.tensor(list(told), dtype=torch.uint8)}
    return save(arrays)


def test_what_is_tampered_with_is_read_where_it_is_right() -> None:
    assert isinstance(unpacked(tampered(lambda tree: tree)), Parcel)


def nested(tree: Any) -> Any:
    for _ in range(500):
        tree = ["list", tree]
    return tree


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: ["record", "Popen", {"args": "true"}],
        lambda tree: ["record", "Parcel", tree[2] | {"more": 1}],
        lambda tree: ["record", "Parcel", {"floats": 1}],
        lambda tree: ["record", "Parcel", tree[2] | {"floats": -1}],
        lambda tree: ["record", "Parcel", tree[2] | {"floats": 2**60}],
        lambda tree: ["record", "Parcel", tree[2] | {"floats": "many"}],
        lambda tree: ["record", "Parcel", tree[2] | {"floats": True}],
        lambda tree: ["record", "Parcel", tree[2] | {"arrays": ["dict", ["x", 1]]}],
        lambda tree: ["record", "Parcel", tree[2] | {"arrays": ["dict", [["list"], 1]]}],
        lambda tree: ["array", "7"],
        lambda tree: ["set", 1],
        lambda tree: {"a": 1},
        lambda tree: ["record"],
        lambda tree: ["dict", [1]],
        nested,
    ],
)
def test_strange_content_is_refused(change: Any) -> None:
    with pytest.raises(PackingError):
        unpacked(tampered(change))


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was executed",))


@pytest.mark.parametrize(
    "blob",
    [b"", b"12", b"\xff" * 100, pickle.dumps(Malice()), packed([1])[:-1], save({})],
)
def test_bytes_that_are_none_of_ours_are_refused(blob: bytes) -> None:
    with pytest.raises(PackingError):
        unpacked(blob)


def test_a_net_is_rebuilt_from_trusted_bytes_alone() -> None:
    spec = f"{Path(__file__).parents[1] / 'share' / 'nets.py'}:plain"
    own = load_own(spec, {}, torch.rand(2, 8, 8))
    blob = packed([own, own])
    with pytest.raises(PackingError, match="rebuilt"):
        unpacked(blob)
    one, other = unpacked(blob, trusted=True)
    assert one is other
    assert one == own


def test_content_of_another_kind_is_refused() -> None:
    with pytest.raises(PackingError, match="Message"):
        unpacked(packed([message(), 3]), list[Message])


def test_what_cannot_be_packed_is_named() -> None:
    with pytest.raises(TypeError, match="Path"):
        packed({"a": Path()})


def test_a_file_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "states.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="holds no states"):
        load_states(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_states(tmp_path / "none")
