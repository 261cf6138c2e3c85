"""The methods that Fed-LSCL is compared with: what is averaged, what pulls, and what crosses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.federate.test_foundations import with_lora
from tests.federate.test_session import Quiet, content, ran, rows, run_of
from tests.federate.tiny import config_of
from tests.federate.tiny import foundation as tiny
from understudy.errors import ConfigError
from understudy.federate.crossing import ABOUT
from understudy.federate.foundations.foundation import Adapter
from understudy.federate.lesson import Lesson
from understudy.federate.methods.averaged import Averaged, weights_of
from understudy.federate.session import new_federation, resume_federation
from understudy.link.carrier import Message

KINDS: dict[str, dict[str, Any]] = {
    "head": {"kind": "head"},
    "lora": {"kind": "lora", "blocks": [1, 2], "rank": 2},
    "small_alone": {"kind": "small_alone"},
    "prompts": {"kind": "prompts", "pool": 4, "chosen": 2, "length": 2},
}
ONE_ROUND: dict[str, Any] = {"clients": 2, "tasks": 1, "rounds": 1, "server": None}


def method_of(kind: str, client: int = 1, **settings: Any) -> Averaged:
    """A client's, before anything is learnt."""
    from understudy.federate.population import Federation

    config = config_of(**ONE_ROUND | {"method": KINDS[kind]} | settings)
    found: Any = Federation(config).actor(0, client)
    assert isinstance(found.method, Averaged)
    return found.method


def lesson(method: Averaged, epochs: int = 1) -> Lesson:
    local = method.common.config.local.model_copy(update={"epochs": epochs, "learning_rate": 0.01})
    return Lesson(0, 0, method.own.seed, local)


@pytest.mark.parametrize("kind", KINDS)
def test_both_clients_get_the_mean_by_samples_of_what_each_learns_alone(kind: str) -> None:
    alone, nothing = ran(**ONE_ROUND | {"method": KINDS[kind], "server": "none"})
    assert nothing == []
    learnt = [weights_of(client.method.modules) for client in alone.populations[0][1:]]
    counts = [len(client.method.own.tasks[0].train) for client in alone.populations[0][1:]]
    assert any(not torch.equal(learnt[0][name], learnt[1][name]) for name in learnt[0])
    crew, _ = ran(**ONE_ROUND | {"method": KINDS[kind]})
    for client in crew.populations[0][1:]:
        for name, found in weights_of(client.method.modules).items():
            parts = [n * each[name] for n, each in zip(counts, learnt, strict=True)]
            torch.testing.assert_close(found, sum(parts) / sum(counts), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_proximal_term_is_half_mu_times_the_squared_distance_and_holds(kind: str) -> None:
    pulled = method_of(kind, method={**KINDS[kind], "mu": 3.0})
    count = sum(each.numel() for each in pulled.modules.parameters())
    with torch.no_grad():
        for each in pulled.modules.parameters():
            each += 0.5
    assert float(pulled.pull()["proximal"].detach()) == pytest.approx(
        3 / 2 * 0.25 * count, rel=1e-4
    )

    def moved(mu: float) -> float:
        method = method_of(kind, method={**KINDS[kind], "mu": mu})
        before = weights_of(method.modules)
        method.train(lesson(method, epochs=5))
        after = weights_of(method.modules)
        return sum(float((after[name] - before[name]).square().sum()) for name in before)

    assert moved(100.0) < 0.5 * moved(0.0)


def test_the_pull_is_towards_what_the_server_sent_last() -> None:
    method = method_of("head", method={"kind": "head", "mu": 2.0})
    sent = {name: each + 1 for name, each in weights_of(method.modules).items()}
    method.receive("model", sent)
    assert float(method.pull()["proximal"].detach()) == 0
    assert all(torch.equal(weights_of(method.modules)[name], each) for name, each in sent.items())


def test_a_head_learns_as_a_plain_loop_does() -> None:
    method = method_of("head", method={"kind": "head", "mu": 3.0})
    first = {name: each.detach().clone() for name, each in method.modules.named_parameters()}
    plain: Any = method_of("small_alone")  # its samples are as the foundation takes them
    task, own = plain.own.tasks[0], {n: each.clone().requires_grad_() for n, each in first.items()}
    allowed = torch.zeros(10, dtype=torch.bool)
    allowed[list(task.classes)] = True
    adam = torch.optim.Adam(list(own.values()), lr=0.01)
    for places, _ in lesson(method).batches(len(task.train)):
        part = task.train.rows(places)
        features = plain.common.foundation.features(part.inputs)
        logits = F.linear(features, own["head.weight"], own["head.bias"])
        loss = F.cross_entropy(logits.masked_fill(~allowed, -torch.inf), part.label)
        loss = loss + 3 / 2 * sum((own[name] - first[name]).square().sum() for name in own)
        adam.zero_grad()
        loss.backward()
        adam.step()
    method.train(lesson(method))
    for name, each in method.modules.named_parameters():
        torch.testing.assert_close(each, own[name], atol=1e-5, rtol=1e-4)


def test_lora_is_a_change_of_the_weights_themselves() -> None:
    method = method_of("lora")
    foundation: Any = method.common.foundation
    some = method.own.tasks[0].test
    plain = method.modules["head"](foundation.features(some.inputs))
    assert torch.equal(method.logits(some), plain)  # B begins at zero
    method.train(lesson(method, epochs=3))
    weights = weights_of(method.modules)
    given = {
        block: Adapter(weights[f"a.{block}"][None], weights[f"b.{block}"][None], 16 / 2)
        for block in (1, 2)
    }
    found = method.logits(some)
    assert not torch.allclose(found, method.modules["head"](foundation.features(some.inputs)))
    changed = with_lora(tiny().module, foundation, given, 0)  # hooks that ask for nothing
    foundation.module.load_state_dict(changed.state_dict())
    wanted = method.modules["head"](foundation.features(some.inputs))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_model_crosses_and_never_a_sample(kind: str) -> None:
    crew, crossed = ran(method=KINDS[kind], server=None, tasks=1)
    clients = crew.populations[0][1:]
    assert {each.kind for each in crossed} == {"model"}
    assert {each.sender for each in crossed} == {0, 1, 2, 3}
    names = set(weights_of(clients[0].method.modules))
    assert all(set(each.parcels[0].arrays) == names | {ABOUT} for each in crossed)
    assert not any(name.startswith("small") for name in names) or kind == "small_alone"
    samples: list[Tensor] = []
    for client in clients:
        for task in client.method.own.tasks:
            for part in (task.train, task.test):
                samples += [*part.inputs.values(), *part.small.values()]
    known = {tuple(row.tolist()) for each in samples for row in rows(each) if row.std() > 0}
    assert not known & {tuple(row.tolist()) for array in arrays(crossed) for row in rows(array)}


def arrays(crossed: list[Message]) -> list[Tensor]:
    return [a for each in crossed for name, a in each.parcels[0].arrays.items() if name != ABOUT]


def test_a_run_that_stops_again_and_again_ends_the_same(tmp_path: Path) -> None:
    variants = {
        name: {"method": {**method, "mu": 0.1}, "server": "average"}
        for name, method in KINDS.items()
    }
    variants["joint"] = {"method": "head", "server": "average", "joint": True}
    config = run_of(variants=variants, seeds=[0])
    whole = new_federation(tmp_path / "whole", config, Quiet())
    with pytest.raises(KeyboardInterrupt):
        new_federation(tmp_path / "parts", config, Quiet(4))
    begun = whole.open(tmp_path / "parts")
    stops = 0
    while not begun.summary.exists():
        try:
            resume_federation(begun, config, Quiet(6))
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 4
    assert content(begun) == content(whole)


def test_joint_training_is_one_client_with_the_samples_of_all() -> None:
    settings = {"tasks": 2, "rounds": 1, "clients": 2, "server": None, "method": {"kind": "head"}}
    divided, _ = ran(**settings)
    samples = [t for each in divided.populations[0][1:] for t in each.method.own.tasks]
    crew, _ = ran(**settings, joint=True)
    one, other = crew.populations[0][1:]
    for task in one.method.own.tasks:
        assert len(task.train) == sum(len(each.train) for each in samples)
        assert task.learnt == tuple(sorted({name for each in samples for name in each.classes}))
    assert [len(task.train) for task in other.method.own.tasks] == [0, 0]
    for before, now in zip(samples, [*one.method.own.tasks, *other.method.own.tasks], strict=True):
        assert torch.equal(before.test.inputs["features"], now.test.inputs["features"])
        assert before.classes == now.classes
    alone: Any = method_of("head", **{**settings, "joint": True})
    for task in (0, 1):
        local = alone.common.config.local
        alone.train(Lesson(task, task, alone.own.seed, local))
    for client in (one, other):
        for name, weight in weights_of(client.method.modules).items():
            torch.testing.assert_close(weight, weights_of(alone.modules)[name])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": {"kind": "head", "mu": 1}, "server": "none"}, "mu=1.0 pulls towards"),
        ({"joint": True}, "of method.kind=fed_lscl not all that a client learns is averaged"),
        ({"method": "head", "server": "none", "joint": True}, "server.kind=none; use average"),
        (
            {"method": "head", "server": {"kind": "average", "rule": "median"}, "joint": True},
            "server.rule=median; use mean",
        ),
        (
            {"method": "head", "server": None, "joint": True, "participation": 0.5},
            "needs client 1 in every round",
        ),
        (
            {"method": "small_alone", "server": None, "small": ["residual", "depthwise"]},
            "are of different kinds; set server=none, or one kind",
        ),
        (
            {"method": "small_alone", "server": None, "data": "{client}.csv"},
            "the server knows no shape",
        ),
        ({"method": {"kind": "prompts", "pool": 2, "chosen": 3}}, "chosen=3 of pool=2 prompts"),
    ],
)
def test_what_clashes_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_of(**settings)


def test_small_networks_of_different_kinds_learn_alone() -> None:
    mixed = {"small": ["residual", "depthwise", "transformer"], "small_options": {}}
    crew, crossed = ran(method={"kind": "small_alone"}, server="none", tasks=1, **mixed)
    assert crossed == []
    assert all("task" in client.log[1].terms for client in crew.populations[0][1:])
