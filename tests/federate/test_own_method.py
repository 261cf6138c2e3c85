"""A method in a file of one's own: FedAvg and FedProx of a head, against a plain loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.federate.tiny import config_of
from understudy.actors.crew import together
from understudy.actors.loop import run
from understudy.errors import ConfigError
from understudy.federate.clock import moments_of
from understudy.federate.lesson import Lesson
from understudy.federate.population import Federation, carriers_of
from understudy.federate.variants import FederateRun
from understudy.settings import check_settings

KIND = f"{Path(__file__).parents[2] / 'examples' / 'extend' / 'federated.py'}:ProximalHead"


def config(**more: Any) -> Any:
    return config_of(**{"method": {"kind": KIND}, "server": None, "tasks": 1} | more)


def by_hand(settings: Any, mu: float) -> dict[str, torch.Tensor]:
    """FedProx as a plain loop over clients: the mean after the last round."""
    crew = together(Federation(settings))
    clients: Any = crew.populations[0][1:]
    head = clients[0].method.modules["head"]
    mean = {name: weight.detach().clone() for name, weight in head.named_parameters()}
    for round_ in range(settings.rounds):
        sent, counts = [], []
        for client in clients:
            own = {name: weight.clone().requires_grad_() for name, weight in mean.items()}
            task = client.method.own.tasks[0]
            allowed = torch.zeros(10, dtype=torch.bool)
            allowed[list(task.classes)] = True
            adam = torch.optim.Adam(list(own.values()), lr=settings.local.learning_rate)
            lesson = Lesson(0, round_, client.method.own.seed, settings.local)
            for places, _ in lesson.batches(len(task.train)):
                part = task.train.rows(places)
                features = client.method.common.foundation.features(part.inputs)
                logits = F.linear(features, own["weight"], own["bias"])
                logits = logits.masked_fill(~allowed, -torch.inf)
                loss = F.cross_entropy(logits, part.label)
                if round_:
                    moved = sum((own[name] - mean[name]).square().sum() for name in mean)
                    loss = loss + mu / 2 * moved
                adam.zero_grad()
                loss.backward()
                adam.step()
            sent.append({name: weight.detach() for name, weight in own.items()})
            counts.append(len(task.train))
        mean = {
            name: sum(n * each[name] for n, each in zip(counts, sent, strict=True)) / sum(counts)
            for name in mean
        }
    return mean


@pytest.mark.parametrize("mu", [0.0, 3.0])
def test_it_gives_the_numbers_of_a_plain_loop(mu: float) -> None:
    settings = config(method={"kind": KIND, "mu": mu}, local={"batch": 8, "learning_rate": 0.01})
    crew, carriers = together(Federation(settings)), carriers_of(settings)
    run(crew, carriers, moments_of(settings))
    expected = by_hand(settings, mu)
    for client in crew.populations[0][1:]:
        found = client.method.modules["head"].state_dict()  # type: ignore[attr-defined]
        for name, weight in expected.items():
            torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=1e-4)
    kinds = carriers[0].totals().bytes
    assert set(kinds) == {"head"}
    assert crew.reports()[0][1].small == ""  # it has no small network


def test_a_server_that_makes_nothing_of_what_it_sends_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"makes nothing of what .* sends; use average"):
        config(server="o2d")
    assert config(server={"kind": "average", "rule": "median"}).serving.rule == "median"


@pytest.mark.parametrize("unread", [{"small": "depthwise"}, {"feature_width": 8}, {"cache": True}])
def test_settings_that_it_does_not_read_are_refused(unread: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=f"{next(iter(unread))}=.* has no effect with method.kind"
    ):
        check_settings(FederateRun, {"method": KIND, **unread})
