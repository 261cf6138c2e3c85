"""Topologies by hand, and edges that make no sense."""

from __future__ import annotations

import math

import pytest

from understudy.errors import ConfigError
from understudy.link.graph import Edge, Graph, make_graph, parts


def test_every_link_goes_both_ways() -> None:
    for topology in ("full", "ring", "tree", "star", "random"):
        graph = make_graph(topology, 9, drop=0.5)
        assert {(b, a) for a, b in graph.edges} == set(graph.edges)


@pytest.mark.parametrize(
    ("topology", "links"), [("full", 28), ("ring", 8), ("tree", 7), ("star", 7)]
)
def test_a_topology_of_eight_has_its_links(topology: str, links: int) -> None:
    graph = make_graph(topology, 8)  # type: ignore[arg-type]
    assert len(graph.edges) == 2 * links
    assert list(parts(graph)) == [set(range(8))]


def test_neighbours() -> None:
    ring = make_graph("ring", 5)
    assert ring.out_of(0) == ring.into(0) == [1, 4]
    star = make_graph("star", 4)
    assert star.out_of(0) == [1, 2, 3]
    assert star.into(2) == [0]


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("topology", ["full", "ring", "tree", "star", "random"])
def test_one_and_two_agents(topology: str, size: int) -> None:
    graph = make_graph(topology, size)  # type: ignore[arg-type]
    assert len(graph.edges) == (0 if size == 1 else 2)


def test_a_dropped_share_of_links_is_missing() -> None:
    counts = [len(make_graph("random", 30, drop=0.9, seed=seed).edges) // 2 for seed in range(20)]
    mean = sum(counts) / len(counts)
    assert abs(mean - 43.5) < 6.5  # 435 links, each kept by 0.1: a deviation of 6.3 / sqrt(20)
    assert len(set(counts)) > 1
    assert make_graph("random", 30, drop=0.9, seed=3) == make_graph("random", 30, drop=0.9, seed=3)


def test_parts_of_a_graph_that_fell_apart() -> None:
    graph = Graph(5, {(0, 1): Edge(), (1, 0): Edge(), (4, 2): Edge()})
    assert sorted(map(sorted, parts(graph))) == [[0, 1], [2, 4], [3]]


@pytest.mark.parametrize(
    "settings",
    [
        {"bandwidth": 0},
        {"bandwidth": math.nan},
        {"every": 0},
        {"latency": -1},
        {"loss": 1.5},
    ],
)
def test_an_impossible_edge_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Edge(**settings)  # type: ignore[arg-type]


def test_an_edge_to_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="1->3"):
        Graph(3, {(1, 3): Edge()})
    with pytest.raises(ConfigError, match="1->1"):
        Graph(3, {(1, 1): Edge()})
