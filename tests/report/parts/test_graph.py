"""The picture of a graph: what crossed an edge is seen, and which way."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.report.parts.graph import Edge, Node, graph
from understudy.report.parts.page import environment


def lines_of(picture: str) -> dict[str, dict[str, str]]:
    """The attributes of every edge's line, by its title."""
    found = re.findall(r"<path ([^>]*)><title>([^<]*)</title>", picture)
    return {title: dict(re.findall(r'([\w-]+)="([^"]*)"', line)) for line, title in found}


def drawn(nodes: int, load: Callable[[int, int], int]) -> str:
    """The picture of a graph in which node a sent load(a, b) to node b."""
    edges = [
        Edge(a, b, load(a, b), f"{a} → {b}: {load(a, b)}")
        for a in range(nodes)
        for b in range(nodes)
        if a != b
    ]
    pieces = environment(Path()).get_template("pieces.html").module
    found = graph("graph", "a graph", [Node(str(n), 0.5, "a node") for n in range(nodes)], edges)
    return str(pieces.graph(found))  # type: ignore[attr-defined]


@pytest.mark.parametrize("nodes", [2, 5, 40])
def test_the_more_crossed_an_edge_the_wider_its_line(nodes: int) -> None:
    lines = lines_of(drawn(nodes, lambda a, b: 10 * a + b))
    assert len(lines) == nodes * (nodes - 1)
    loads = [10 * a + b for a in range(nodes) for b in range(nodes) if a != b]
    widths = [
        float(lines[f"{a} → {b}: {10 * a + b}"]["stroke-width"])
        for a in range(nodes)
        for b in range(nodes)
        if a != b
    ]
    by_load = [width for _, width in sorted(zip(loads, widths, strict=True))]
    assert by_load == sorted(widths)
    assert by_load[0] < by_load[-1]


def test_lines_go_from_the_sender_to_the_receiver_and_back_apart() -> None:
    lines = lines_of(drawn(2, lambda a, b: 10 + a))
    there, back = lines["0 → 1: 10"]["d"], lines["1 → 0: 11"]["d"]
    numbers = [[float(part) for part in re.findall(r"[\d.]+", path)] for path in (there, back)]
    # Node 0 is on top, node 1 below: one line goes down on the left, the other up on the right.
    assert numbers[0][1] < numbers[0][5]
    assert numbers[1][1] > numbers[1][5]
    assert numbers[0][2] < 160 < numbers[1][2]


def test_an_edge_that_carried_nothing_is_dashed() -> None:
    lines = lines_of(drawn(3, lambda a, b: 5 * a))
    dashed = {title for title, line in lines.items() if "stroke-dasharray" in line}
    assert dashed == {"0 → 1: 0", "0 → 2: 0"}
