"""A federation over Flower's crew: the server in the relay, on each node its clients' own data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.actors.same import same
from tests.federate.tiny import SMALL, config_of
from understudy.actors.crew import together
from understudy.actors.flower.crew import FlowerCrew, NodeAnswer
from understudy.actors.flower.node import Node
from understudy.actors.loop import run
from understudy.federate.clock import moments_of
from understudy.federate.data import load_samples
from understudy.federate.population import Federation, carriers_of
from understudy.federate.settings import FederateConfig


class FakeTransport:
    """Hands requests to nodes. spoil: what becomes of an answer of the second node."""

    def __init__(self, config: FederateConfig, nodes: int, folder: Path) -> None:
        self.at = {
            number: Node(
                Federation(config), number, nodes, folder / str(number), servers_of(config)
            )
            for number in range(nodes)
        }

    def nodes(self) -> Iterable[int]:
        return list(self.at)

    def partitions(self, nodes: Sequence[int], seconds: float) -> Mapping[int, tuple[int, int]]:
        return {node: (node, len(self.at)) for node in nodes}

    def exchange(self, requests: Mapping[int, bytes], seconds: float) -> Iterator[NodeAnswer]:
        for node, request in requests.items():
            yield NodeAnswer(node, self.at[node].answer(request), late=False)


def servers_of(config: FederateConfig) -> Any:
    return Federation(config).servers


def own_data(folder: Path) -> dict[str, Any]:
    """A file for each client, of other classes."""
    data = load_samples("generated", {"classes": 10, "per_class": 20, "size": 16, "noise": 0.1})
    pictures, label = np.asarray(data.raw), np.asarray(data.label)
    for client in (1, 2, 3):
        kept = (label >= client) & (label < client + 4)
        np.savez(folder / f"{client}.npz", x=pictures[kept], label=label[kept] - client)
    return {"data": f"{folder}/{{client}}.npz", "data_options": {}, "classes": 10}


def test_nodes_give_the_numbers_of_one_process(tmp_path: Path) -> None:
    config = config_of(**own_data(tmp_path))
    relay, transport = Federation(config), FakeTransport(config, 2, tmp_path)
    crew = FlowerCrew(relay, transport, 2, 1.0, 0.0, servers_of(config))
    one, carriers, others = together(Federation(config)), carriers_of(config), carriers_of(config)
    run(crew, carriers, moments_of(config))
    run(one, others, moments_of(config))
    assert crew.events == {}
    assert same(crew.logs(), one.logs())
    assert crew.reports() == one.reports()
    assert carriers[0].totals() == others[0].totals()
    assert SMALL["clients"] == len(one.populations[0]) - 1
    clients = [{number for _, number in node.addresses} for node in transport.at.values()]
    assert sorted(number for each in clients for number in each) == [1, 2, 3]
    for node, own in zip(transport.at.values(), clients, strict=True):
        assert read_by(node.factory) == {f"{tmp_path}/{number}.npz" for number in own}
    assert read_by(relay) == set()


def read_by(federation: Any) -> set[str]:
    """The sets of data that a process has loaded."""
    return {name.split()[1] for name in federation._loaded if name.startswith("data ")}
