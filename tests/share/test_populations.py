"""Agents with different nets, and with data of their own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.actors.same import same
from understudy.actors.crew import Together, together
from understudy.actors.loop import run
from understudy.actors.workers import Workers
from understudy.errors import ConfigError
from understudy.settings import check_settings
from understudy.share.agent import Agent
from understudy.share.clock import moments_of
from understudy.share.population import Agents, carriers_of
from understudy.share.settings import ShareConfig
from understudy.tasks.instances import generated_instances

SMALL: dict[str, Any] = {
    "data_options": {"per_class": 50, "size": 16},
    "agents": 4,
    "tasks": 6,
    "epochs": 2,
    "train_per_class": 8,
    "validation_per_class": 8,
    "evaluate_every": 2,
    "width": 4,
    "keep_above": -1.0,
}


def ran(**settings: Any) -> list[Agent]:
    config = check_settings(ShareConfig, SMALL | settings)
    crew = together(Agents(config))
    run(crew, carriers_of(config), moments_of(config))
    agents: list[Agent] = crew.populations[0]  # type: ignore[assignment]
    return agents


def test_agents_with_different_nets_share_what_fits() -> None:
    """Agents 0 and 2 have one net, 1 and 3 another: weights of the other net are refused and noted,
    those of one's own are used; instances are of use to all."""
    nets = ["mlp", "cnn"]
    weights = {"mode": "fedavg", "every": 2}
    agents = ran(net=nets, share_parameters=weights, share_data={"mode": "simple", "every": 1})
    assert [agent.shape.kind for agent in agents] == ["mlp", "cnn", "mlp", "cnn"]
    assert all(agent.events["other shapes", "parameters"] > 0 for agent in agents)
    assert all(agent.received for agent in agents)
    mixed = ran(net=nets, share_parameters=weights)
    apart = ran(net="mlp", share_parameters=weights, graph={"topology": "random", "drop": 1.0})
    assert not same(mixed[0].learner, apart[0].learner)  # it has got the weights of agent 2


def test_modules_fit_those_of_the_same_net_alone() -> None:
    agents = ran(net=["mlp", "cnn"], share_modules={"mode": "leep", "points": 2})
    assert all(agent.events["other shapes", "modules"] > 0 for agent in agents)
    assert all(agent.learner.modules > 4 for agent in agents)


def test_an_agent_does_not_depend_on_the_nets_of_others() -> None:
    mixed, alone = ran(net=["mlp", "cnn"]), ran(net="cnn")
    for number in (1, 3):
        assert same(mixed[number].state(), alone[number].state())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"net": []}, r"net=\[\]"),
        ({"net": ["mlp", "rnn"]}, "net=rnn is unknown"),
        ({"net": ["mlp"] * 5}, "more nets than there are agents=4"),
        ({"net": ["mlp", "cnn"], "net_options": {"a": 1}}, "net_options"),
        (
            {"agents": 2, "net": ["mlp", "cnn"], "share_parameters": {"mode": "fedavg"}},
            "no two agents have modules of one shape.*parameters",
        ),
    ],
)
def test_nets_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Agents(check_settings(ShareConfig, SMALL | settings)).check()


OWN: dict[str, Any] = {
    "agents": 3,
    "tasks": 2,
    "epochs": 2,
    "train_per_class": 8,
    "validation_per_class": 4,
    "evaluate_every": 2,
    "width": 8,
    "learner": "monolithic",
    "jointly": False,
    "common_start": "never",
    "share_parameters": {"mode": "fedavg", "every": 1},
}


def own_data(folder: Path, agents: int = 3) -> ShareConfig:
    for agent in range(agents):
        data = generated_instances(per_class=40, seed=agent)
        np.savez(folder / f"{agent}.npz", x=data.x.numpy(), label=data.label.numpy())
    return check_settings(ShareConfig, OWN | {"data": f"{folder}/{{agent}}.npz"})


def test_an_agent_reads_its_own_data_and_no_others(tmp_path: Path) -> None:
    config = own_data(tmp_path)
    factory = Agents(config)
    factory.check()
    whole = together(factory)
    run(whole, carriers_of(config), moments_of(config))
    for agent, number in zip(whole.populations[0], range(3), strict=True):
        assert isinstance(agent, Agent)
        own = torch.from_numpy(np.load(tmp_path / f"{number}.npz")["x"]).flatten(1)
        for task in agent.tasks:
            assert all(bool((own == x).all(dim=1).any()) for x in task.train.x.flatten(1))
    workers = Workers(factory, 2)
    try:
        run(workers, carriers_of(config), moments_of(config))
        assert same(workers.states(), whole.states())
    finally:
        workers.close()
    for number in (0, 2):
        (tmp_path / f"{number}.npz").unlink()
    (alone,) = Agents(config).make([(0, 1)])
    assert same(alone.state()["replay"], {})
    with pytest.raises(ConfigError, match=r"2\.npz"):
        Agents(config).make([(0, 2)])


def test_data_of_ones_own_have_no_common_start(tmp_path: Path) -> None:
    told = OWN | {"data": f"{tmp_path}/{{agent}}.npz", "tasks": 6, "common_start": "always"}
    with pytest.raises(ConfigError, match=r"data of its own.*common_start=always"):
        check_settings(ShareConfig, told)


def test_a_factory_that_crosses_is_small_and_makes_the_same_agents() -> None:
    config = check_settings(ShareConfig, SMALL)
    factory = Agents(config)
    factory.check()  # which loads the data
    blob = pickle.dumps(factory)
    assert len(blob) < 10_000
    one, other = (Together([each.make([(0, 2)])]) for each in (factory, pickle.loads(blob)))
    assert same(one.states(), other.states())
