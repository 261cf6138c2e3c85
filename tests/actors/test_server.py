"""A server that averages and its clients: the same numbers in every crew, wherever it is put."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch

from tests.actors.federation import Federation, by_hand, carriers, moments, write_data
from tests.actors.same import same
from understudy.actors.crew import Crew, together
from understudy.actors.factory import HERE, parts_of
from understudy.actors.flower.crew import FlowerCrew, NodeAnswer
from understudy.actors.flower.node import Node
from understudy.actors.loop import run
from understudy.actors.workers import Workers
from understudy.errors import ConfigError

CLIENTS, ROUNDS, POPULATIONS = 4, 6, 2
SERVERS = {(population, 0): HERE for population in range(POPULATIONS)}


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    write_data(tmp_path, CLIENTS, POPULATIONS)
    return Federation(CLIENTS, tmp_path, POPULATIONS)


def ran(crew: Crew) -> Crew:
    run(crew, carriers(CLIENTS, POPULATIONS), moments(CLIENTS, ROUNDS, POPULATIONS))
    return crew


def test_a_server_gives_the_numbers_of_a_plain_loop(federation: Federation) -> None:
    crew = ran(together(federation))
    for population, row in enumerate(crew.logs()):
        expected = by_hand(federation.folder, CLIENTS, ROUNDS, population)
        assert torch.allclose(torch.tensor(row[0]), torch.tensor(expected), atol=1e-6)
        assert [report.messages for report in crew.reports()[population]][1:] == [ROUNDS] * CLIENTS


@pytest.mark.parametrize("pinned", [{}, SERVERS, {(0, 0): 1, (1, 0): 0}])
def test_workers_give_the_same_wherever_the_server_is(
    federation: Federation, pinned: dict[tuple[int, int], int]
) -> None:
    one, crew = ran(together(federation)), Workers(federation, 2, pinned=pinned)
    try:
        ran(crew)
        assert same(crew.states(), one.states())
        assert crew.logs() == one.logs()
        assert crew.reports() == one.reports()
        kept = crew.states()
        ran(crew)
        crew.restore(kept)
        assert same(crew.states(), one.states())
        assert crew.logs() == one.logs()
    finally:
        crew.close()


class FakeTransport:
    """Hands requests to nodes, each of which has its own clients' files and no others."""

    def __init__(self, federation: Federation, nodes: int, folder: Path) -> None:
        self.at: dict[int, Node] = {}
        for number in range(nodes):
            own = folder / f"node{number}"
            own.mkdir()
            factory = Federation(CLIENTS, own, POPULATIONS)
            self.at[number] = Node(factory, number, nodes, own / "states", SERVERS)
            for population, client in self.at[number].addresses:
                name = f"{population}-{client}.pt"
                os.link(federation.folder / name, own / name)

    def nodes(self) -> Iterable[int]:
        return list(self.at)

    def partitions(self, nodes: Sequence[int], seconds: float) -> Mapping[int, tuple[int, int]]:
        return {node: (node, len(self.at)) for node in nodes}

    def exchange(self, requests: Mapping[int, bytes], seconds: float) -> Iterator[NodeAnswer]:
        for node, request in requests.items():
            yield NodeAnswer(node, self.at[node].answer(request), late=False)


def test_over_flower_the_server_is_in_the_relay_and_clients_keep_their_data(
    federation: Federation, tmp_path: Path
) -> None:
    transport = FakeTransport(federation, 2, tmp_path)
    assert all(number > 0 for node in transport.at.values() for _, number in node.addresses)
    nowhere = Federation(CLIENTS, tmp_path / "nowhere", POPULATIONS)  # the relay has no data
    crew = FlowerCrew(nowhere, transport, 2, 1.0, 0.0, SERVERS)
    one = ran(together(federation))
    ran(crew)
    assert crew.events == {}
    assert crew.logs() == one.logs()
    assert crew.reports() == one.reports()


def test_a_place_that_is_not_there_is_refused() -> None:
    assert parts_of([3, 3], 2, {(0, 0): HERE}) == (
        [[(0, 2), (1, 0), (1, 2)], [(0, 1), (1, 1)]],
        [(0, 0)],
    )
    for pinned in ({(0, 3): 0}, {(2, 0): 0}, {(0, 0): 2}, {(0, 0): -2}):
        with pytest.raises(ConfigError, match="there are 2 parts"):
            parts_of([3, 3], 2, pinned)
