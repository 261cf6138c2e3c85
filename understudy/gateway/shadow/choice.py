"""The threshold to choose: what every threshold asks, costs and gets wrong. Pure arithmetic.

A threshold that is chosen on some questions looks better on them than it is. So the questions are
halved: the threshold chosen on one half decides for the other, and both halves together say what
such a choice is worth. What is recommended is chosen on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from understudy.gateway.shadow.records import Row, Signal
from understudy.routing.router import FARTHEST

Correct = Callable[[float], float]  # an apparent share of wrong answers to what it is


@dataclass(frozen=True, slots=True)
class Goal:
    """At most so many wrong at the least cost, or a dial that is set."""

    max_wrong: float = 0.05  # share of all questions, beyond those that the cloud gets wrong
    dial: float | None = None  # share of the questions that can be answered locally


@dataclass(frozen=True, slots=True)
class Point:
    """A threshold: questions with a score above it are asked."""

    threshold: float
    dial: float  # share asked of the questions that the local model can answer
    asked: float  # share asked of all
    dollars: float
    wrong: float  # share of all questions


@dataclass(frozen=True, slots=True)
class Chosen:
    signal: Signal
    point: Point
    meets: bool  # whether the goal is met


def curve(rows: Sequence[Row], signal: Signal, correct: Correct | None = None) -> list[Point]:
    """From never asking to always. Rows without a local answer are asked in any case.

    correct: of the share wrong among local answers that stand.
    """
    always = [row for row in rows if row.local.unable]
    own = sorted(
        ((row.local.score(signal), row) for row in rows if not row.local.unable),
        key=lambda pair: -pair[0],
    )
    total, able = len(rows), len(own)
    asked, dollars = len(always), sum(row.dollars for row in always)
    cloud_wrong = sum(row.cloud_wrong for row in always)
    local_wrong = sum(row.local_wrong for _, row in own)
    points = []
    for place in range(able + 1):
        above = own[place - 1][0] if place else math.inf
        below = own[place][0] if place < able else -math.inf
        if above > below:  # of ties all or none
            kept = able - place
            wrong = float(local_wrong)
            if correct is not None and kept:
                wrong = correct(local_wrong / kept) * kept
            points.append(
                Point(
                    threshold=_between(above, below),
                    dial=place / able if able else 0.0,
                    asked=asked / total,
                    dollars=dollars,
                    wrong=(wrong + cloud_wrong) / total,
                )
            )
        if place < able:
            row = own[place][1]
            asked, dollars = asked + 1, dollars + row.dollars
            local_wrong, cloud_wrong = local_wrong - row.local_wrong, cloud_wrong + row.cloud_wrong
    return points


def choose(
    rows: Sequence[Row], signals: Sequence[Signal], goal: Goal, correct: Correct | None = None
) -> Chosen:
    """The cheapest threshold that meets the goal, by whichever signal has the cheapest; where none
    meets it the least wrong one."""
    best: tuple[tuple[float, float, float], Chosen] | None = None
    most = goal.max_wrong + sum(row.cloud_wrong for row in rows) / len(rows) + 1e-12
    for signal in signals:
        for point in curve(rows, signal, correct):
            if goal.dial is not None:
                meets, rank = True, (abs(point.dial - goal.dial), point.wrong, point.dollars)
            elif point.wrong <= most:
                meets, rank = True, (0.0, point.dollars, point.wrong)
            else:
                meets, rank = False, (1.0, point.wrong, point.dollars)
            if best is None or rank < best[0]:
                best = rank, Chosen(signal, point, meets)
    assert best is not None, "there are rows and signals"
    return best[1]


def asks(row: Row, chosen: Chosen) -> bool:
    return bool(row.local.unable) or row.local.score(chosen.signal) > chosen.point.threshold


def cross_fitted(
    rows: Sequence[Row], signals: Sequence[Signal], goal: Goal, correct: Correct | None = None
) -> list[bool]:
    """Whether each row is asked, by what the other half of the questions chose.

    A question that comes twice is in one half.
    """
    half = {digest: place % 2 for place, digest in enumerate(sorted({r.call.digest for r in rows}))}
    halves = [half[row.call.digest] for row in rows]
    chosen = []
    for number in (0, 1):
        other = [row for row, its in zip(rows, halves, strict=True) if its != number]
        chosen.append(choose(other or rows, signals, goal, correct))
    return [asks(row, chosen[its]) for row, its in zip(rows, halves, strict=True)]


def thinned(points: Sequence[Point], most: int = 101) -> list[Point]:
    """Evenly over the dial, both ends included: for a plot."""
    if len(points) <= most:
        return list(points)
    wanted = (round(i * (len(points) - 1) / (most - 1)) for i in range(most))
    return [points[place] for place in dict.fromkeys(wanted)]


def _between(above: float, below: float) -> float:
    if math.isinf(below):
        return -FARTHEST
    return FARTHEST if math.isinf(above) else (above + below) / 2
