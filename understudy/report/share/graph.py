"""Which agent sent how much to which: the graph of each variant's first population."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from understudy.report.parts import graph
from understudy.report.parts.numbers import count, number, size
from understudy.report.share.records import agents_of
from understudy.share.records import EdgeTraffic, PopulationResult, VariantResult


@dataclass(frozen=True)
class Captioned:
    name: str
    note: str
    graph: graph.Graph


def graphs(variants: Mapping[str, VariantResult]) -> list[Captioned]:
    """Of the variants that share anything and have edges."""
    scale = accuracy_range(variants)
    drawn = [(name, each) for name, each in variants.items() if is_drawn(each)]
    return [
        _captioned(name, variant, scale, f"graph{place}")
        for place, (name, variant) in enumerate(drawn)
    ]


def legend(variants: Mapping[str, VariantResult]) -> str:
    drawn = [variant for variant in variants.values() if is_drawn(variant)]
    few = all(len(each.seeds[0].agents) <= graph.FEW for each in drawn)
    sides = "arrows point at the receiver" if few else "each line bends to its sender's right"
    palest, darkest = (number(end, 3) for end in accuracy_range(variants))
    return (
        "A line for each direction of a link, first seed: the wider and stronger, the more bytes "
        f"were sent, on a scale of its own for each picture; {sides}. Dashed: nothing was sent. "
        "The fuller an agent's colour, the more accurate it is at the end "
        f"({palest} to {darkest})."
    )


def is_drawn(variant: VariantResult) -> bool:
    return bool(variant.shares and variant.seeds[0].edges)


def picture(
    seed: PopulationResult, scale: tuple[float, float] = (0.0, 1.0), name: str = "graph"
) -> graph.Graph:
    """One population. scale: the accuracies of the palest and the darkest agent."""
    nodes = [
        graph.Node(
            str(place),
            _depth(agent.accuracy, scale),
            f"agent {place}: accuracy {number(agent.accuracy, 3)}",
        )
        for place, agent in enumerate(seed.agents)
    ]
    edges = [graph.Edge(e.sender, e.receiver, _bytes(e), _described(e)) for e in seed.edges]
    label = f"{len(nodes)} agents and what crossed between them"
    return graph.graph(name, label, nodes, edges)


def accuracy_range(variants: Mapping[str, VariantResult]) -> tuple[float, float]:
    known = [
        float(accuracy)
        for variant in variants.values()
        for accuracy in agents_of(variant).flat
        if math.isfinite(accuracy)
    ]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _captioned(
    name: str, variant: VariantResult, scale: tuple[float, float], own: str
) -> Captioned:
    """With the bytes that the tables have, and those of the seed that is drawn, if others."""
    seed = variant.seeds[0]
    loads = [_bytes(edge) for edge in seed.edges]
    used = sum(load > 0 for load in loads)
    note, drawn = f"{size(variant.bytes)} a population", size(sum(loads))
    if drawn != size(variant.bytes):
        note += f", mean over seeds; here {drawn}"
    note += f" over {used:,} of {len(loads):,} edges, at most {size(max(loads))} over one"
    return Captioned(name, note, picture(seed, scale, own))


def _depth(accuracy: float | None, scale: tuple[float, float]) -> float:
    low, high = scale
    if accuracy is None or not math.isfinite(accuracy) or high <= low:
        return 0.0
    return (accuracy - low) / (high - low)


def _described(edge: EdgeTraffic) -> str:
    kinds = "; ".join(f"{kind} {count(sent)} floats" for kind, sent in edge.floats.items() if sent)
    what = f"{size(_bytes(edge))} ({kinds})" if kinds else size(_bytes(edge))
    return f"{edge.sender} → {edge.receiver}: {what}"


def _bytes(edge: EdgeTraffic) -> float:
    return float(sum(edge.bytes.values()))
