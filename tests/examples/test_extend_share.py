"""The examples of an actor and of a mode of sharing of one's own, loaded by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.actors.same import same
from understudy.actors.crew import together
from understudy.actors.loop import run
from understudy.actors.workers import Workers
from understudy.errors import ConfigError
from understudy.registry import named_function
from understudy.settings import check_settings
from understudy.share.clock import moments_of
from understudy.share.population import Agents, carriers_of
from understudy.share.reveals import reveals
from understudy.share.settings import ShareConfig
from understudy.share.variants import crossing, described

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "extend"
MODE = f"{FOLDER / 'mode.py'}:Prototypes"
SMALL: dict[str, Any] = {
    "data_options": {"per_class": 50},
    "agents": 3,
    "tasks": 2,
    "epochs": 4,
    "train_per_class": 8,
    "validation_per_class": 8,
    "evaluate_every": 2,
    "width": 8,
    "learner": "monolithic",
    "jointly": False,
}


@pytest.mark.parametrize("name", ["actor.py", "mode.py"])
def test_an_example_is_short(name: str) -> None:
    assert len((FOLDER / name).read_text().splitlines()) <= 60


def test_the_server_averages_what_clients_move_to() -> None:
    """Each of the clients 1 to 4 moves half the way to (its number, 1); so does their mean."""
    main = named_function("actor", f"{FOLDER / 'actor.py'}:main")
    models = main(rounds=10)
    expected, now = [], torch.zeros(2)
    for _ in range(10):
        expected.append(now.tolist())
        now = (now + torch.tensor([2.5, 1.0])) / 2
    assert torch.allclose(torch.tensor(models), torch.tensor(expected))


def ran(modes: list[dict[str, Any]]) -> Any:
    config = check_settings(ShareConfig, SMALL | {"modes": modes})
    crew, carriers = together(Agents(config)), carriers_of(config)
    run(crew, carriers, moments_of(config))
    return crew, carriers[0]


def test_a_mode_of_ones_own_is_charged_and_teaches() -> None:
    crew, carrier = ran([{"kind": MODE, "every": 2, "room": 3}])
    agents = crew.populations[0]
    # 3 agents, 2 neighbours each, 2 tasks of 2 rounds, whose means are 2 classes of 64 floats or
    # more, where earlier tasks are kept.
    assert carrier.totals().floats["prototypes"] >= 3 * 2 * 4 * 2 * 64
    assert any(agent.received for agent in agents)
    assert all(len(kept) <= 3 for agent in agents for kept in agent.received.values())
    assert not any(agent.events for agent in agents)
    alone, _ = ran([])
    assert not same(alone.states()[0][0]["learner"], crew.states()[0][0]["learner"])


def test_settings_of_a_mode_of_ones_own_are_its_own() -> None:
    config = check_settings(ShareConfig, SMALL | {"modes": [{"kind": MODE}]})
    assert crossing(config) == [MODE]
    assert MODE in described(config)
    assert "Messages of prototypes" in reveals(config)[0]
    again = check_settings(ShareConfig, config.model_dump())
    assert again == config
    for wrong, words in (
        ([{"kind": MODE, "rom": 3}], r"modes\.0\.rom: there is no such setting"),
        ([{"kind": MODE, "every": 0}], r"modes\.0\.every=0"),
        ([{"kind": "nowhere"}], "modes=nowhere: unknown"),
        ([MODE, MODE], "differ"),
        (["data"], "modes"),
    ):
        with pytest.raises(ConfigError, match=words):
            Agents(check_settings(ShareConfig, SMALL | {"modes": wrong}))


def test_a_mode_of_ones_own_goes_to_workers() -> None:
    config = check_settings(ShareConfig, SMALL | {"modes": [{"kind": MODE, "every": 2}]})
    crew, _ = ran([{"kind": MODE, "every": 2}])
    workers, carriers = Workers(Agents(config), 2), carriers_of(config)
    try:
        run(workers, carriers, moments_of(config))
        assert same(workers.states(), crew.states())
    finally:
        workers.close()
