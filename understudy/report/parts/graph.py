"""A graph and what crossed its edges, as a picture that needs no plotting library.

Each direction of a link has a line of its own: there are 1,560 among 40 agents. The macro `graph`
of pieces.html draws it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.report.parts.colours import INK, QUIET, SYSTEM

Point = tuple[float, float]

_SIDE, _CIRCLE = 320, 134.0  # of the picture, and the radius on which the nodes lie
_BEND = 0.09  # of a line's length, to its right: the two directions of a link lie apart
_TIP = 8.0  # length of an arrowhead
FEW = 12  # nodes with room for arrowheads between them
_PALE = (0xE3, 0xED, 0xF5)
_DEEP = (0x00, 0x72, 0xB2)


@dataclass(frozen=True)
class Node:
    """depth: from 0, pale, to 1, dark; title: shown to who points at it."""

    name: str
    depth: float
    title: str


@dataclass(frozen=True)
class Edge:
    """One direction of a link, between two places in the list of nodes."""

    sender: int
    receiver: int
    load: float
    title: str


@dataclass(frozen=True)
class Line:
    path: str
    width: float
    opacity: float
    used: bool
    title: str


@dataclass(frozen=True)
class Disc:
    x: float
    y: float
    fill: str
    ink: str
    name: str
    title: str


@dataclass(frozen=True)
class Graph:
    """Nodes on a circle, the first on top, the others clockwise. name: unique on its page."""

    name: str
    label: str
    radius: float
    arrows: bool
    lines: Sequence[Line]
    discs: Sequence[Disc]
    side: int = _SIDE
    colour: str = SYSTEM
    quiet: str = QUIET


def graph(name: str, label: str, nodes: Sequence[Node], edges: Sequence[Edge]) -> Graph:
    """The more crossed an edge, the wider and darker its line."""
    total = len(nodes)
    places = [_place(node, total) for node in range(total)]
    radius = min(15.0, max(6.0, 0.7 * math.pi * _CIRCLE / total))
    arrows = total <= FEW
    most = max((edge.load for edge in edges), default=0.0)
    widest = min(5.0, max(1.4, 48 / total))
    lines = []
    for edge in sorted(edges, key=lambda edge: edge.load):  # the widest above the others
        start, end = places[edge.sender], places[edge.receiver]
        share = edge.load / most if most else 0.0
        path = _path(start, end, radius, _TIP if arrows else 0.0)
        width = 0.5 + (widest - 0.5) * share if share else 0.6
        opacity = 0.25 + 0.6 * share if share else 0.5
        lines.append(Line(path, width, opacity, share > 0, edge.title))
    discs = [_disc(node, place) for node, place in zip(nodes, places, strict=True)]
    return Graph(name, label, radius, arrows, lines, discs)


def _disc(node: Node, place: Point) -> Disc:
    depth = min(1.0, max(0.0, node.depth))
    mixed = (round(pale + depth * (deep - pale)) for pale, deep in zip(_PALE, _DEEP, strict=True))
    fill = "#" + "".join(f"{part:02x}" for part in mixed)
    ink = "#ffffff" if depth > 0.55 else INK
    return Disc(*place, fill, ink, node.name, node.title)


def _place(node: int, total: int) -> Point:
    turn = 2 * math.pi * node / total - math.pi / 2
    middle = _SIDE / 2
    return middle + _CIRCLE * math.cos(turn), middle + _CIRCLE * math.sin(turn)


def _path(start: Point, end: Point, radius: float, tip: float) -> str:
    """From rim to rim, bent to the right of its direction."""
    (x, y), (to_x, to_y) = start, end
    across, down = to_x - x, to_y - y
    turn = ((x + to_x) / 2 - _BEND * down, (y + to_y) / 2 + _BEND * across)
    first, last = _towards(start, turn, radius), _towards(end, turn, radius + tip)
    return f"M{_point(first)}Q{_point(turn)} {_point(last)}"


def _towards(start: Point, goal: Point, distance: float) -> Point:
    whole = math.dist(start, goal)
    share = distance / whole if whole else 0.0
    return start[0] + share * (goal[0] - start[0]), start[1] + share * (goal[1] - start[1])


def _point(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
