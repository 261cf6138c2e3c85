"""The graph of a population and what crossed its edges, drawn as SVG that needs no library.

A line a direction: there are 1,560 among 40 agents, too many for a plotting library's markup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from understudy.report.parts.numbers import count, number, size
from understudy.report.parts.svg import INK, QUIET, SYSTEM
from understudy.report.share.records import agents_of

Record = dict[str, Any]
Point = tuple[float, float]

_SIDE, _RADIUS = 320, 134.0  # of the picture, and of the circle of agents
_BEND = 0.09  # of a line's length, to its own side: the two directions of a link lie apart
_TIP = 8.0  # length of an arrow's head
_FEW = 12  # agents with room for arrowheads between them
_PALE = (0xE3, 0xED, 0xF5)
_DEEP = (0x00, 0x72, 0xB2)


def graph_pictures(variants: Mapping[str, Record]) -> str:
    """HTML: the first population of each variant that has edges and shares anything."""
    drawn = {
        name: variant
        for name, variant in variants.items()
        if variant["shares"] and variant["seeds"][0]["edges"]
    }
    if not drawn:
        return ""
    scale = _range(variants)
    figures = [
        _captioned(name, variant, scale, place)
        for place, (name, variant) in enumerate(drawn.items())
    ]
    few = all(len(each["seeds"][0]["agents"]) <= _FEW for each in drawn.values())
    sides = "arrows point at the receiver" if few else "each bends to its sender's right"
    words = (
        "A line for each direction of a link, first seed: the wider and darker, the more bytes "
        f"crossed it, on a scale of the picture's own; {sides}. Dashed: nothing crossed. "
        f"The darker an agent, the more accurate it ended ({number(scale[0], 3)} to "
        f"{number(scale[1], 3)})."
    )
    return f'<p>{words}</p>\n<div class="graphs">\n' + "\n".join(figures) + "\n</div>"


def graph_picture(
    seed: Record, scale: tuple[float, float] = (0.0, 1.0), name: str = "graph"
) -> str:
    """One population on a circle. scale: the accuracies of the palest and the darkest agent."""
    total = len(seed["agents"])
    places = [_place(agent, total) for agent in range(total)]
    radius = min(15.0, max(6.0, 0.7 * math.pi * _RADIUS / total))
    arrows = total <= _FEW
    most = max((_bytes(edge) for edge in seed["edges"]), default=0)
    widest = min(5.0, max(1.4, 48 / total))
    lines = []
    for edge in sorted(seed["edges"], key=_bytes):  # the widest above the others
        path = _path(places[edge["from"]], places[edge["to"]], radius, _TIP if arrows else 0.0)
        share = _bytes(edge) / most if most else 0.0
        look = _look(share, widest, f"{name}-tip" if arrows else "")
        lines.append(f'<path d="{path}" {look}><title>{_told(edge)}</title></path>')
    agents = [
        _agent(agent, place, radius, record["accuracy"], scale)
        for agent, (place, record) in enumerate(zip(places, seed["agents"], strict=True))
    ]
    label = f"{total} agents and what crossed between them"
    return "\n".join(
        (
            f'<svg viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{label}">',
            _tip(f"{name}-tip") if arrows else "",
            f'<g fill="none" stroke="{SYSTEM}">',
            *lines,
            "</g>",
            '<g text-anchor="middle" font-family="sans-serif">',
            *agents,
            "</g>\n</svg>",
        )
    )


def _captioned(name: str, variant: Record, scale: tuple[float, float], place: int) -> str:
    seed = variant["seeds"][0]
    loads = [_bytes(edge) for edge in seed["edges"]]
    used = sum(load > 0 for load in loads)
    note = f"{size(sum(loads))} over {used:,} of {len(loads):,} edges; the widest: "
    note += size(max(loads))
    picture = graph_picture(seed, scale, f"graph{place}")
    caption = f"<strong>{escape(name)}</strong><small>{note}</small>"
    return f"<figure>{picture}\n<figcaption>{caption}</figcaption></figure>"


def _range(variants: Mapping[str, Record]) -> tuple[float, float]:
    known = [
        float(accuracy)
        for variant in variants.values()
        for accuracy in agents_of(variant).flat
        if math.isfinite(accuracy)
    ]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _place(agent: int, total: int) -> Point:
    turn = 2 * math.pi * agent / total - math.pi / 2  # agent 0 on top, the others clockwise
    middle = _SIDE / 2
    return middle + _RADIUS * math.cos(turn), middle + _RADIUS * math.sin(turn)


def _path(start: Point, end: Point, radius: float, tip: float) -> str:
    """From rim to rim, bent to the right of who goes along it."""
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


def _look(share: float, widest: float, tip: str) -> str:
    if not share:
        return f'stroke="{QUIET}" stroke-width="0.60" stroke-dasharray="2 4" opacity="0.50"'
    width = 0.5 + (widest - 0.5) * share
    head = f' marker-end="url(#{tip})"' if tip else ""
    return f'stroke-width="{width:.2f}" opacity="{0.25 + 0.6 * share:.2f}"{head}'


def _tip(name: str) -> str:
    return (
        f'<defs><marker id="{name}" markerUnits="userSpaceOnUse" markerWidth="{_TIP:g}" '
        f'markerHeight="8" viewBox="0 0 8 8" refX="0.5" refY="4" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{SYSTEM}" stroke="none"/></marker></defs>'
    )


def _agent(
    agent: int,
    place: Point,
    radius: float,
    accuracy: float | None,
    scale: tuple[float, float],
) -> str:
    low, high = scale
    known = accuracy is not None and math.isfinite(accuracy)
    depth = (accuracy - low) / (high - low) if accuracy is not None and known and high > low else 0
    depth = min(1.0, max(0.0, depth))
    mixed = (round(pale + depth * (deep - pale)) for pale, deep in zip(_PALE, _DEEP, strict=True))
    fill = "#" + "".join(f"{part:02x}" for part in mixed)
    x, y = place
    letters = 0.95 * radius
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" stroke="#ffffff">'
        f"<title>agent {agent}: accuracy {number(accuracy, 3)}</title></circle>"
        f'<text x="{x:.1f}" y="{y + 0.35 * letters:.1f}" font-size="{letters:.1f}" '
        f'fill="{"#ffffff" if depth > 0.55 else INK}" pointer-events="none">{agent}</text>'
    )


def _told(edge: Record) -> str:
    """What a reader who points at a line is told."""
    kinds = "; ".join(
        f"{kind} {count(sent)} floats" for kind, sent in edge["floats"].items() if sent
    )
    what = f"{size(_bytes(edge))} ({kinds})" if kinds else size(_bytes(edge))
    return escape(f"{edge['from']} → {edge['to']}: {what}")


def _bytes(edge: Record) -> float:
    return float(sum(edge["bytes"].values()))
