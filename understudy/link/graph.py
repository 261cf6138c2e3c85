"""A directed graph of agents: which may send to which, and what each edge can carry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from understudy.errors import ConfigError

if TYPE_CHECKING:  # heavy, and settings import this file
    import numpy as np

Pair = tuple[int, int]
Topology = Literal["full", "ring", "tree", "star", "random"]

_UNEQUAL = 0xED6E  # what a draw is for


@dataclass(frozen=True, slots=True)
class Edge:
    """One direction of a link.

    bandwidth: floats that cross it in one round; every: the rounds from one use to the next;
    latency: rounds by which what was sent comes later; loss: the share of messages that never do.
    """

    bandwidth: float = math.inf
    every: int = 1
    latency: int = 0
    loss: float = 0.0

    def __post_init__(self) -> None:
        if not self.bandwidth >= 1:
            raise ConfigError(f"bandwidth={self.bandwidth}: an edge carries at least 1 float")
        if self.every < 1:
            raise ConfigError(f"every={self.every}: an edge opens every round (1) or more seldom")
        if self.latency < 0:
            raise ConfigError(f"latency={self.latency}: nothing arrives before it is sent; use 0")
        if not 0 <= self.loss <= 1:
            raise ConfigError(f"loss={self.loss}: a share of messages lies between 0 and 1")

    def opens(self, round_: int) -> bool:
        return round_ % self.every == 0


@dataclass(frozen=True)
class Graph:
    """Agents 0 to size-1 and their directed edges."""

    size: int
    edges: Mapping[Pair, Edge]

    def __post_init__(self) -> None:
        for sender, receiver in self.edges:
            if sender == receiver or not {sender, receiver} <= set(range(self.size)):
                raise ConfigError(
                    f"edge {sender}->{receiver}: two different agents of 0 to {self.size - 1} "
                    "make an edge"
                )

    def out_of(self, agent: int) -> list[int]:
        return sorted(receiver for sender, receiver in self.edges if sender == agent)

    def into(self, agent: int) -> list[int]:
        return sorted(sender for sender, receiver in self.edges if receiver == agent)


def make_graph(
    topology: Topology, size: int, edge: Edge | None = None, drop: float = 0.0, seed: int = 0
) -> Graph:
    """Agents in a known shape, each link in both directions, all edges alike.

    tree: each agent hangs on a random earlier one; random: Erdos-Renyi, the full graph of which
    each link is dropped with probability `drop`, and which may fall apart.
    """
    if size < 1:
        raise ConfigError(f"agents={size}: there must be at least one")
    if not 0 <= drop <= 1:
        raise ConfigError(f"drop={drop}: a share of links lies between 0 and 1")
    random = _random(seed, size)
    links = list(_links(topology, size, drop, random))
    one = edge or Edge()
    return Graph(size, {pair: one for a, b in links for pair in ((a, b), (b, a))})


def unequal(
    graph: Graph, bandwidth_spread: float = 0.0, latency_spread: int = 0, seed: int = 0
) -> Graph:
    """The same edges, no longer alike: bandwidth times exp(bandwidth_spread * a normal number), so
    that its median stays; latency up to `latency_spread` more, all equally likely. Drawn by (seed,
    sender, receiver) alone: each direction has its own, whatever other edges there are."""
    if not 0 <= bandwidth_spread <= 10:
        raise ConfigError(f"bandwidth_spread={bandwidth_spread}: a deviation lies between 0 and 10")
    if latency_spread < 0:
        raise ConfigError(f"latency_spread={latency_spread}: nothing arrives earlier; use 0")
    edges = {}
    for pair, edge in graph.edges.items():
        random = _random(seed, _UNEQUAL, *pair)
        wider = math.exp(bandwidth_spread * float(random.standard_normal()))
        later = int(random.integers(latency_spread + 1))
        edges[pair] = replace(
            edge, bandwidth=max(1.0, edge.bandwidth * wider), latency=edge.latency + later
        )
    return Graph(graph.size, edges)


def _random(*seeds: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(seeds)


def _links(
    topology: Topology, size: int, drop: float, random: np.random.Generator
) -> Iterable[Pair]:
    if topology == "full":
        return combinations(range(size), 2)
    if topology == "ring":
        return {(min(a, b), max(a, b)) for a in range(size) if (b := (a + 1) % size) != a}
    if topology == "star":
        return ((0, b) for b in range(1, size))
    if topology == "tree":
        return ((int(random.integers(b)), b) for b in range(1, size))
    return (pair for pair in combinations(range(size), 2) if random.random() >= drop)


def parts(graph: Graph) -> Iterator[set[int]]:
    """The groups of agents with a path between them, directions of edges left aside."""
    near: dict[int, set[int]] = {agent: set() for agent in range(graph.size)}
    for a, b in graph.edges:
        near[a].add(b)
        near[b].add(a)
    left = set(near)
    while left:
        found, ahead = set(), {min(left)}
        while ahead:
            agent = ahead.pop()
            found.add(agent)
            ahead |= near[agent] - found
        left -= found
        yield found
