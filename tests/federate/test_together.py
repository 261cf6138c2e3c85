"""Clients that are alike trained as one, against each of them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.federate.test_session import ran
from tests.federate.tiny import config_of
from understudy.federate.lesson import Lesson
from understudy.federate.population import Federation
from understudy.federate.small.words import Words
from understudy.federate.together import Stacked, _alike, trained

FOUR: dict[str, Any] = {
    "clients": 4,
    "partition": {"private": 1, "shared": 6, "held_shared": 3, "train_per_class": 8},
}
SETTINGS: dict[str, Any] = FOUR | {"seeds": [3], "local": {"batch": 8, "epochs": 2}}
KINDS: dict[str, dict[str, Any]] = {
    "fed_lscl": {},
    "head": {"method": {"kind": "head", "mu": 0.5}, "server": "average"},
    "lora": {"method": {"kind": "lora", "blocks": [1, 2], "mu": 0.5}, "server": "average"},
    "small_alone": {"method": {"kind": "small_alone", "mu": 0.5}, "server": "average"},
    "transformers": {"small": "transformer", "small_options": {"blocks": 1, "width": 8}},
    "depthwise": {"small": "depthwise", "small_options": {"width": 8, "stages": 2, "blocks": 1}},
}


def doubled(inputs: Any) -> Any:
    return {n: each.double() if each.is_floating_point() else each for n, each in inputs.items()}


def methods_of(**settings: Any) -> list[Any]:
    """Of all clients, in float64, before anything is learnt, and with unequally many samples."""
    federation = Federation(config_of(**SETTINGS | settings))
    clients: list[Any] = [federation.actor(0, number) for number in range(1, 5)]
    foundation: Any = federation.foundation
    foundation.module.double()
    for client, fewer in zip(clients, (0, 0, 2, 3), strict=True):
        method = client.method
        method.modules.double()
        if getattr(method, "anchor", None):
            method.anchor = doubled(method.anchor)
        tasks = [replace(each, train=as_double(each.train, fewer)) for each in method.own.tasks]
        method.own = replace(method.own, tasks=tasks)
    return [client.method for client in clients]


def as_double(examples: Any, fewer: int) -> Any:
    some = examples.rows(slice(0, len(examples) - fewer))
    return replace(some, inputs=doubled(some.inputs), small=doubled(some.small))


def through(methods: Sequence[Any], together: int) -> list[list[dict[str, float]]]:
    """Two tasks of one round."""
    found = []
    for task in (0, 1):
        for one in methods:
            one.start(one.own.tasks[task])
        local = methods[0].common.config.local.model_copy(update={"together": together})
        lessons = [Lesson(task, task, one.own.seed, local) for one in methods]
        found.append(trained(methods, lessons))
        for one in methods:
            one.end(one.own.tasks[task])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_as_one_they_learn_what_each_learns_alone(kind: str) -> None:
    alone, as_one = methods_of(**KINDS[kind]), methods_of(**KINDS[kind])
    sizes = {len(one.own.tasks[1].train) for one in alone}
    assert len(sizes) > 1
    wanted, found = through(alone, 1), through(as_one, 4)
    assert ("smcf" in found[1][0]) == (alone[0].settings.served_by == "o2d")
    for task in (0, 1):
        for one, other in zip(wanted[task], found[task], strict=True):
            assert other == pytest.approx(one, rel=1e-9)
    for one, other in zip(alone, as_one, strict=True):
        pairs = zip(one.modules.named_parameters(), other.modules.parameters(), strict=True)
        for (name, weight), same in pairs:
            # The bias of keys has no gradient but rounding, which Adam makes large.
            if "qkv" not in name:
                torch.testing.assert_close(same, weight, atol=1e-8, rtol=1e-6)


def test_different_kinds_fall_into_groups() -> None:
    mixed = {"small": ["residual", "transformer"], "small_options": {"width": 8, "blocks": 1}}
    methods = methods_of(**mixed)
    lessons = [
        Lesson(0, 0, 0, one.common.config.local.model_copy(update={"together": 32}))
        for one in methods
    ]
    assert _alike(methods, lessons) == [[0, 2], [1, 3]]
    two = [replace(each, local=each.local.model_copy(update={"together": 2})) for each in lessons]
    assert _alike([methods[0]] * 3, two[:3]) == [[0, 1], [2]]
    one = [replace(each, local=each.local.model_copy(update={"together": 1})) for each in lessons]
    assert _alike(methods, one) == [[0], [1], [2], [3]]


def test_a_network_of_a_stranger_is_computed_alone() -> None:
    methods = methods_of(small=f"{__file__}:own", small_options={})
    assert methods[0].likeness is None


def own(raw: Any) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(raw[0].numel(), 4))


@pytest.mark.parametrize("reads", ["convolution", "attention"])
def test_networks_of_text_stack(reads: str) -> None:
    texts = ["a card that was lost", "top up", "why?"]
    networks = [Words(texts, width=8, buckets=50, longest=6, reads=reads) for _ in range(3)]  # type: ignore[arg-type]
    ids = networks[0].prepare(texts)["words"]
    several = Stacked.of([torch.nn.ModuleDict({"small": each}) for each in networks])
    found = several["small"]({"words": ids.expand(3, -1, -1)})
    for each, row in zip(networks, found, strict=True):
        torch.testing.assert_close(row, each({"words": ids}))


def test_a_federation_in_single_precision_stays_near() -> None:
    """Two tasks of two rounds: weights move by up to 0.02."""
    crew, _ = ran(**FOUR)
    other, _ = ran(**FOUR, local={"batch": 8, "together": 3})
    for one, same in zip(crew.populations[0][1:], other.populations[0][1:], strict=True):
        weights = same.method.modules.state_dict()
        for name, weight in one.method.modules.state_dict().items():
            torch.testing.assert_close(weights[name], weight, atol=5e-4, rtol=1e-2)
