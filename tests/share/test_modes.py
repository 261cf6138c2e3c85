"""Whole small populations: every mode runs, meters what the paper counts, and changes nothing it
should not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from understudy.actors.crew import Together
from understudy.actors.jobs import run_steps
from understudy.actors.loop import run
from understudy.errors import ConfigError
from understudy.link.carrier import Carrier, Inbox, Message, Parcel
from understudy.settings import check_settings
from understudy.share.agent import Agent
from understudy.share.clock import moments_of
from understudy.share.modes.parameters.mode import travelling
from understudy.share.population import begin_in_common, carriers_of, populations_of
from understudy.share.settings import ShareConfig
from understudy.share.tick import Tick
from understudy.tasks.instances import Instances, generated_instances

SMALL: dict[str, Any] = {
    "agents": 3,
    "tasks": 6,
    "epochs": 4,
    "train_per_class": 12,
    "validation_per_class": 8,
    "evaluate_every": 2,
    "width": 8,
}
MODULE = 8 * 8 + 8
INSTANCE = 64


@pytest.fixture(scope="module")
def data() -> Instances:
    return generated_instances(per_class=50)


def ran(data: Instances, **settings: Any) -> list[tuple[list[Agent], Carrier]]:
    config = ShareConfig(**SMALL | settings)
    populations, carriers = populations_of(config, data), carriers_of(config)
    begin_in_common([agent for row in populations for agent in row])
    run(Together(populations), carriers, moments_of(config))
    return list(zip(populations, carriers, strict=True))


def floats(populations: list[tuple[list[Agent], Carrier]]) -> dict[str, int]:
    return dict(populations[0][1].totals().floats)


def weights_of(agents: list[Agent]) -> list[torch.Tensor]:
    return [weight for agent in agents for weight in agent.learner.weights.values()]


def same(one: list[Agent], other: list[Agent]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))


@pytest.mark.parametrize("learner", ["modular", "monolithic"])
@pytest.mark.parametrize("mode", ["fedavg", "fedprox", "fedcurv", "fedfish"])
def test_parameters_cost_what_the_paper_counts(data: Instances, learner: str, mode: str) -> None:
    shared = {"mode": mode, "every": 2}
    populations = ran(data, learner=learner, share_parameters=shared)
    rounds = 2 * 2  # of the two tasks after those that one learns for all
    each = 4 * MODULE * (2 if mode == "fedcurv" else 1)
    assert floats(populations) == {"parameters": 3 * 2 * rounds * each}
    agents = populations[0][0]
    assert all(not agent.accuracy.isnan().any() for agent in agents)
    assert all(bool(weight.isfinite().all()) for weight in weights_of(agents))


def test_a_population_repeats_and_does_not_hear_those_beside_it(data: Instances) -> None:
    shared = {"share_parameters": {"mode": "fedavg", "every": 2}}
    both = ran(data, seeds=[3, 4], **shared)
    alone = ran(data, seeds=[4], **shared)
    assert same(both[1][0], alone[0][0])
    assert not same(both[0][0], alone[0][0])


def test_agents_begin_with_common_modules_and_decoders_of_their_own(data: Instances) -> None:
    """Alike decoders would set agents whose labels are opposed against each other in a mean."""
    config = ShareConfig(**SMALL, common_start="never", share_parameters={"mode": "fedavg"})
    one, other = (agent.learner.weights for agent in populations_of(config, data)[0][:2])
    alike = {name for name in one if torch.equal(one[name], other[name])}
    assert alike == {"modules.weight", "modules.bias", "structure"}


@pytest.mark.parametrize("learner", ["modular", "monolithic"])
def test_one_agent_learns_the_first_tasks_for_all(data: Instances, learner: str) -> None:
    config = ShareConfig(**SMALL, learner=learner, share_parameters={"mode": "fedavg"})
    populations = populations_of(config, data)
    untrained = [weight.clone() for weight in weights_of(populations[0])]
    begin_in_common([agent for row in populations for agent in row])
    one, other, _ = populations[0]
    assert min(tick.task for moment in moments_of(config) for tick in moment[0] if tick) == 4
    assert one.tasks[:4] == other.tasks[:4]  # the very same instances
    assert one.tasks[4].classes != other.tasks[4].classes
    assert one.curve == other.curve
    assert [point[:2] for point in one.curve] == [(t, e) for t in range(4) for e in (0, 2, 4)]
    for name, weight in one.learner.weights.items():
        theirs = other.learner.weights[name]
        if name.startswith("decoders."):  # those of later tasks are each agent's own
            assert torch.equal(weight[:4], theirs[:4])
            assert not torch.equal(weight[4:], theirs[4:])
        else:
            assert torch.equal(weight, theirs)
    now = weights_of(populations[0])
    assert not all(torch.equal(a, b) for a, b in zip(untrained, now, strict=True))


def test_a_common_start_without_messages_is_one_where_none_arrives(data: Instances) -> None:
    fedavg = {"mode": "fedavg", "every": 2}
    alone = ran(data, learner="monolithic", common_start="always")[0][0]
    deaf = ran(data, learner="monolithic", share_parameters=fedavg, graph={"loss": 1.0})[0][0]
    assert same(alone, deaf)
    assert not same(alone, ran(data, learner="monolithic", share_parameters=fedavg)[0][0])
    assert not same(alone, ran(data, learner="monolithic")[0][0])


def test_first_tasks_are_learnt_at_once_when_all_are_there(data: Instances) -> None:
    def moved(task: int, **settings: Any) -> bool:
        config = ShareConfig(**SMALL, learner="monolithic", **settings)
        agent = populations_of(config, data)[0][0]
        before = [weight.clone() for weight in weights_of([agent])]
        for number in range(task + 1):
            run_steps([agent.step(Tick(number, 0, 0, 4, number), Inbox())])
        return not all(torch.equal(a, b) for a, b in zip(before, weights_of([agent]), strict=True))

    assert [moved(2), moved(3)] == [False, True]
    assert moved(0, jointly=False)


def test_weights_of_modules_that_rest_are_shared_in_vain(data: Instances) -> None:
    """A modular learner's first modules move in accommodation alone: without it, a mean of them is
    what they began as, and no penalty has anything to hold."""
    settings: dict[str, Any] = {"accommodate": False, "keep_above": -1.0}
    fedavg = ran(data, share_parameters={"mode": "fedavg", "every": 2}, **settings)[0][0]
    for mode in ("fedprox", "fedcurv"):
        other = ran(data, share_parameters={"mode": mode, "every": 2}, **settings)[0][0]
        assert same(fedavg, other)
    quiet = ran(data, common_start="always", **settings)[0][0]
    for one, other in zip(fedavg, quiet, strict=True):
        for name in one.learner.named("modules"):
            first = slice(one.learner.first)
            mean, own = one.learner.weights[name][first], other.learner.weights[name][first]
            torch.testing.assert_close(mean, own, rtol=1e-5, atol=1e-6)
    settings["accommodate"] = True
    moving = ran(data, share_parameters={"mode": "fedavg", "every": 2}, **settings)[0][0]
    for mode in ("fedprox", "fedcurv"):
        assert not same(moving, ran(data, share_parameters={"mode": mode}, **settings)[0][0])


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"tasks": 4, "share_parameters": {"mode": "fedavg"}}, "tasks=4.*common_start=never"),
        ({"learner": "modular", "jointly": False}, "jointly=false needs learner=monolithic"),
    ],
)
def test_tasks_that_cannot_begin_so_are_refused(told: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_settings(ShareConfig, told)


def test_a_few_learners_at_a_time_are_all_of_them(
    data: Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"agents": 5, "epochs": 2, "share_parameters": {"mode": "fedavg"}}
    whole = ran(data, **settings)[0][0]
    monkeypatch.setattr("understudy.share.jobs.Train.at_once", 2)
    monkeypatch.setattr("understudy.share.jobs.Examine.at_once", 2)
    few = ran(data, **settings)[0][0]
    assert same(whole, few)
    for one, other in zip(whole, few, strict=True):
        assert one.accuracy.tolist() == other.accuracy.tolist()


def test_after_a_mean_all_agents_of_a_full_graph_are_alike(data: Instances) -> None:
    alone = {"learner": "monolithic", "jointly": False, "common_start": "never"}
    config = ShareConfig(**SMALL, **alone, share_parameters={"mode": "fedavg"})
    populations = populations_of(config, data)
    agents, carrier = populations[0], carriers_of(config)[0]
    for number, agent in enumerate(agents):
        agent.learner.weights["modules.weight"].fill_(float(number))
    for now in (0, 1):
        tick = Tick(task=0, epoch=0, exchange=now, train=0, round=0)
        inboxes = carrier.deliver(now)
        outboxes = run_steps([agent.step(tick, inboxes[agent.number]) for agent in agents])
        carrier.carry(now, [message for outbox in outboxes for message in outbox])
    for agent in agents:
        list(agent.modes[0].settle(agent, tick))
        assert agent.learner.weights["modules.weight"].unique().tolist() == [1.0]


def test_modules_travel_once_a_task_added_one(data: Instances) -> None:
    populations = ran(data, keep_above=-1.0, share_modules={"mode": "iou"})
    agents = populations[0][0]
    assert [agent.added for agent in agents] == [{4: 4, 5: 5}] * 3  # every candidate was kept
    assert floats(populations) == {"modules": 3 * 2 * MODULE}  # at the last task alone
    by_likeness = ran(
        data, keep_above=-1.0, share_modules={"mode": "leep", "points": 3, "tryout": 1}
    )
    queries = 3 * 2 * (2 * 3) * INSTANCE  # at the last task, 3 points of each of 2 classes
    assert floats(by_likeness) == {"modules.query": queries, "modules": 3 * 2 * MODULE}


@pytest.mark.parametrize("learner", ["modular", "monolithic"])
def test_instances_asked_for_are_of_the_class_and_new(data: Instances, learner: str) -> None:
    shared = {"mode": "receiver", "every": 2, "queries": 3, "neighbours": 2}
    populations = ran(data, learner=learner, share_data=shared)
    rounds = 3  # of the tasks in which they learn
    assert floats(populations)["data.query"] == 3 * 2 * rounds * 3 * INSTANCE
    assert 0 < floats(populations)["data"] <= 3 * 2 * rounds * 3 * 2 * INSTANCE
    for agent in populations[0][0]:
        assert agent.received
        for number, got in agent.received.items():
            assert set(got.label.tolist()) <= set(agent.tasks[number].classes)
            everything = torch.cat([agent.tasks[number].train.x, got.x]).flatten(1)
            assert len(everything.unique(dim=0)) == len(everything)


def test_a_neighbour_sends_no_more_than_its_share(data: Instances) -> None:
    shared = {"mode": "simple", "every": 2, "queries": 5}
    populations = ran(data, learner="monolithic", share_data=shared)
    assert 0 < floats(populations)["data"] <= 3 * 2 * 3 * 5 * INSTANCE


def test_a_narrow_edge_trims_and_postpones_and_the_run_goes_on(data: Instances) -> None:
    narrow = {"topology": "ring", "bandwidth": 700, "loss": 0.1, "latency": 1}
    shared: dict[str, Any] = {"share_data": {"mode": "receiver", "every": 2, "queries": 8}}
    shared["share_parameters"] = {"mode": "fedavg", "every": 2}
    populations = ran(data, learner="monolithic", graph=narrow, **shared)
    fates = populations[0][1].totals().fates
    assert min(fates["trimmed"], fates["waits"], fates["arrives"]) > 0
    assert all(bool(weight.isfinite().all()) for weight in weights_of(populations[0][0]))


@pytest.mark.parametrize("fault", ["nan", "shape", "names"])
def test_what_is_poisoned_is_refused_and_noted(data: Instances, fault: str) -> None:
    config = ShareConfig(**SMALL, learner="monolithic", share_parameters={"mode": "fedavg"})
    agent = populations_of(config, data)[0][0]
    arrays = {name: weight.clone() for name, weight in travelling(agent).items()}
    if fault == "nan":
        arrays["modules.bias"][0, 0] = float("nan")
    elif fault == "shape":
        arrays["modules.bias"] = arrays["modules.bias"][:2]
    else:
        del arrays["modules.bias"]
    before = [weight.clone() for weight in weights_of([agent])]
    poisoned = Message(1, 0, "parameters", (Parcel(arrays, 1),), 0)
    tick = Tick(0, 0, 1, 0, 0)
    run_steps([agent.step(tick, Inbox((poisoned,)))])
    list(agent.modes[0].settle(agent, tick))
    assert sum(agent.events.values()) == 1
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of([agent]), strict=True))


def test_agents_at_their_own_pace_all_learn_all_tasks(data: Instances) -> None:
    """Some end earlier and still answer; nothing that was sent is left unread."""
    shared = {"share_parameters": {"mode": "fedavg", "every": 2}, "slowest": 2.5}
    config = ShareConfig(**SMALL, **shared)
    assert None in [tick for moment in moments_of(config) for tick in moment[0]]
    populations = ran(data, **shared)
    for agent in populations[0][0]:
        assert [point[:2] for point in agent.curve] == [
            (task, epoch) for task in range(6) for epoch in (0, 2, 4)
        ]
    assert populations[0][1].totals().floats["parameters"] == 3 * 2 * 2 * 2 * 4 * MODULE
    # Who ended last sent to those who had ended: they listen until the end.
    assert populations[0][1].under_way().total() <= 2
    assert same(populations[0][0], ran(data, **shared)[0][0])


def asking(data: Instances, **shared: Any) -> tuple[Agent, Agent, list[Message]]:
    """Two agents at their first task, and what the second answers the first's query."""
    told = {"mode": "receiver", "every": 1, "queries": 4, "neighbours": 6, **shared}
    config = ShareConfig(**SMALL | {"agents": 2}, learner="monolithic", share_data=told)
    first, second = populations_of(config, data)[0]
    for agent in (first, second):
        run_steps([agent.step(Tick(0, 0, 0, 1, 0), Inbox())])
    opening = Tick(0, 1, 0, 0, 1)
    (query,) = first.modes[0].begin(first, opening)
    query = replace(query, receiver=1)
    # The second agent's own classes, so that it has an answer to all.
    classes = torch.tensor(second.tasks[0].classes)
    x = query.parcels[0].arrays["x"]
    asked = {"x": x, "label": classes[torch.arange(len(x)) % 2]}
    query = replace(query, parcels=(Parcel(asked, x.numel()),))
    return first, second, second.modes[0].receive(second, query, opening)


@pytest.mark.parametrize("labels", ["owner", "query"])
@pytest.mark.parametrize("among", ["class", "task"])
def test_an_answer_has_the_label_told(data: Instances, labels: str, among: str) -> None:
    _, second, (answer,) = asking(data, labels=labels, among=among)
    classes, train = second.tasks[0].classes, second.tasks[0].train
    mixed = 0
    for number, parcel in enumerate(answer.parcels):
        x, label = parcel.arrays["x"], parcel.arrays["label"]
        places = [int((train.x == one).flatten(1).all(dim=1).nonzero()[0]) for one in x]
        owners = train.label[places]
        mixed += int((owners != classes[number % 2]).sum())
        expected = owners if labels == "owner" else torch.full_like(owners, classes[number % 2])
        assert torch.equal(label, expected)
    assert (mixed > 0) == (among == "task")


def test_instances_asked_about_at_random_repeat_and_change_with_the_round(data: Instances) -> None:
    first, _, _ = asking(data, score="random")
    mode = first.modes[0]

    def asked(round_: int) -> torch.Tensor:
        (message,) = mode.begin(first, Tick(0, 1, 0, 0, round_))
        return message.parcels[0].arrays["x"]

    assert torch.equal(asked(1), asked(1))
    assert not torch.equal(asked(1), asked(2))
    assert len(asked(1).flatten(1).unique(dim=0)) == 4


@pytest.mark.parametrize("key", ["labels", "among"])
def test_how_queries_are_answered_is_refused_where_there_are_none(key: str) -> None:
    told = {"mode": "simple", key: {"labels": "query", "among": "task"}[key]}
    with pytest.raises(ConfigError, match=f"{key}=.*mode=receiver"):
        check_settings(ShareConfig, {"share_data": told})


def test_weights_that_are_old_are_refused(data: Instances) -> None:
    shared = {"mode": "fedavg", "max_age": 2}
    config = ShareConfig(**SMALL, learner="monolithic", share_parameters=shared)
    agent = populations_of(config, data)[0][0]
    weights = {name: weight.clone() for name, weight in travelling(agent).items()}

    def heard(sender: int, sent: int, now: int) -> int:
        """How many messages are refused when one comes."""
        message = Message(sender, 0, "parameters", (Parcel(weights, 1),), sent)
        agent.modes[0].receive(agent, message, Tick(0, 0, 1, 0, now))
        return agent.events["stale", "parameters"]

    assert heard(sender=1, sent=5, now=7) == 0
    assert heard(sender=2, sent=4, now=7) == 1  # three rounds old
    assert heard(sender=1, sent=5, now=7) == 1  # the same once more
    assert heard(sender=1, sent=6, now=7) == 1
    assert heard(sender=1, sent=5, now=7) == 2  # older than what was heard
    assert heard(sender=2, sent=5, now=7) == 2  # by another: what is old is so by sender
    assert heard(sender=2, sent=9, now=7) == 2  # its clock is ahead


EVERY_EPOCH: dict[str, Any] = {"evaluate_every": 1, "keep_above": -1.0}  # late ones still arrive


def late_modules(data: Instances, patience: int) -> tuple[list[Agent], Carrier]:
    shared = {"mode": "iou", "patience": patience}
    return ran(data, share_modules=shared, graph={"latency": 1}, **EVERY_EPOCH)[0]


def test_modules_that_come_too_late_are_noted_and_never_begun_with(data: Instances) -> None:
    agents, carrier = late_modules(data, patience=0)
    assert carrier.totals().fates["arrives"] > 0
    late = {("too late", "modules"): 2}
    assert [dict(agent.events) for agent in agents] == [late] * 3
    alone = ran(data, share_modules={"mode": "iou"}, graph={"loss": 1.0}, **EVERY_EPOCH)[0][0]
    assert same(agents, alone)


def test_who_waits_hears_of_modules_over_slow_edges(data: Instances) -> None:
    patient, _ = late_modules(data, patience=2)
    assert not any(agent.events for agent in patient)
    prompt = ran(data, share_modules={"mode": "iou"}, **EVERY_EPOCH)[0][0]
    assert same(patient, prompt)


@pytest.mark.parametrize(
    ("mode", "kind", "arrays"),
    [
        ("receiver", "data.query", {"x": torch.zeros(2, 3), "label": torch.zeros(2)}),
        ("receiver", "data.query", {"label": torch.zeros(2)}),
        ("receiver", "data", {"x": torch.zeros(2, 8, 8), "label": torch.zeros(2)}),
        ("receiver", "data", {"x": torch.zeros(2, 8, 8).long(), "label": torch.zeros(2).long()}),
        ("receiver", "data", {"x": torch.zeros(2, 8, 8), "label": torch.zeros(1)}),
        ("simple", "data.query", {"classes": torch.zeros(2), "worth": torch.tensor([torch.nan])}),
        ("simple", "data.query", {"classes": torch.arange(2), "worth": torch.tensor([-1, 1.5])}),
        ("simple", "data.query", {"classes": torch.arange(2), "worth": torch.full((2,), 1e30)}),
        ("simple", "data.query", {"classes": torch.tensor(2), "worth": torch.tensor(0.5)}),
        ("simple", "data.query", {"classes": torch.zeros(2), "worth": torch.tensor([0.5, 0.5])}),
        ("leep", "modules.query", {"classes": torch.zeros(2)}),
        ("leep", "modules.query", {"x": torch.zeros(0, 8, 8), "label": torch.zeros(0).long()}),
        ("iou", "modules.query", {"classes": torch.zeros(2, 2)}),
        ("iou", "modules.query", {}),
        ("iou", "modules", {"module.weight": torch.zeros(8, 8), "module.bias": torch.zeros(8)}),
    ],
)
def test_messages_that_make_no_sense_are_refused_and_noted(
    data: Instances, mode: str, kind: str, arrays: dict[str, torch.Tensor]
) -> None:
    shared: dict[str, Any] = {"share_modules": {"mode": mode}}
    if kind.startswith("data"):
        shared = {"share_data": {"mode": mode, "every": 2}}
    config = ShareConfig(**SMALL, **shared)
    agent = populations_of(config, data)[0][0]
    tick = Tick(0, 0, 1, 0, 0)
    if kind == "modules":
        agent.modes[0].asked = 0  # type: ignore[attr-defined]
    nonsense = Message(1, 0, kind, (Parcel(arrays, 1),), 0)
    run_steps([agent.step(Tick(0, 0, 0, 0, 0), Inbox())])
    assert run_steps([agent.step(tick, Inbox((nonsense,)))]) == [[]]
    assert list(agent.events.values()) == [1]
