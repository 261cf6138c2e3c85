"""Topologies by hand, and edges that make no sense."""

from __future__ import annotations

import math

import pytest

from understudy.errors import ConfigError
from understudy.link.graph import Edge, Graph, make_graph, parts, unequal


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


def test_edges_drawn_apart_keep_their_medians_and_ends() -> None:
    plain = make_graph("full", 40, Edge(bandwidth=1000, every=3, latency=2, loss=0.1))
    edges = unequal(plain, bandwidth_spread=0.5, latency_spread=4, seed=7).edges
    assert edges.keys() == plain.edges.keys()
    logs = sorted(math.log(edge.bandwidth / 1000) for edge in edges.values())
    assert abs(logs[len(logs) // 2]) < 0.08  # 1560 edges: five deviations of the median
    assert abs(sum(log**2 for log in logs) / len(logs) - 0.25) < 0.05
    assert {edge.latency for edge in edges.values()} == {2, 3, 4, 5, 6}
    assert {(edge.every, edge.loss) for edge in edges.values()} == {(3, 0.1)}


def test_an_edge_is_drawn_alone_and_each_direction_for_itself() -> None:
    one = Edge(bandwidth=1000)
    full = unequal(make_graph("full", 6, one), 1.0, 9, seed=3).edges
    ring = unequal(make_graph("ring", 6, one), 1.0, 9, seed=3).edges
    assert all(full[pair] == edge for pair, edge in ring.items())
    assert full[0, 1] != full[1, 0]
    assert full != unequal(make_graph("full", 6, one), 1.0, 9, seed=4).edges


def test_edges_told_to_be_equal_are() -> None:
    plain = make_graph("star", 5, Edge(bandwidth=77, latency=1))
    assert unequal(plain) == plain
    assert unequal(make_graph("star", 5), 2.0).edges[0, 1].bandwidth == math.inf


def test_the_narrowest_edge_still_carries_a_float() -> None:
    edges = unequal(make_graph("full", 9, Edge(bandwidth=1)), bandwidth_spread=5.0).edges
    assert min(edge.bandwidth for edge in edges.values()) == 1.0


@pytest.mark.parametrize(
    "spread",
    [{"bandwidth_spread": -0.1}, {"bandwidth_spread": math.nan}, {"latency_spread": -1}],
)
def test_an_impossible_spread_is_refused(spread: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(spread))):
        unequal(make_graph("ring", 3), **spread)  # type: ignore[arg-type]
