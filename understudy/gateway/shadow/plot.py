"""Quality over cost as a picture that needs no plotting library; page.html draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.gateway.shadow.correction import observed
from understudy.gateway.shadow.findings import Findings
from understudy.gateway.shadow.money import dollars
from understudy.report.parts.colours import INK, LOCAL, QUIET, SYSTEM

WIDE, NARROW = (960, 400), (420, 340)  # for a wide page and a phone: letters keep their size
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 30, 24, 56
_DOTS = 26  # of the curve that say what they are when pointed at


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    title: str


@dataclass(frozen=True, slots=True)
class Named:
    """A dot with a name beside it. reach: of its error bars, (left, right, bottom, top)."""

    x: float
    y: float
    text: str
    colour: str
    at: tuple[float, float]  # of the text
    anchor: str
    reach: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    label: str
    band: str
    curve: str
    chance: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    dots: Sequence[Dot]
    named: Sequence[Named]
    right: float
    bottom: float
    width: int
    height: int
    left: float = _LEFT
    top: float = _TOP
    ink: str = INK
    quiet: str = QUIET
    colour: str = SYSTEM


class _Axes:
    def __init__(self, most: float, low: float, size: tuple[int, int]) -> None:
        self.most, self.low = most or 1.0, low
        self.right, self.bottom = size[0] - _RIGHT, size[1] - _BOTTOM

    def x(self, paid: float) -> float:
        return _LEFT + paid / self.most * (self.right - _LEFT)

    def y(self, right: float) -> float:
        share = (right - self.low) / (1.0 - self.low)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - _TOP)


def quality_over_cost(found: Findings, size: tuple[int, int] = WIDE) -> Plot:
    points = found.curve
    count = found.different
    bands = [observed(point.wrong * count, count) for point in points if found.judge is None]
    most = max(found.paid, found.would_pay + found.would_pay_reach) * 1.04
    lowest = 1 - max([*(band.high for band in bands), *(p.wrong for p in points), found.wrong.high])
    axes = _Axes(most, max(0.0, _floor(lowest)), size)
    ticks = 5 if size == WIDE else 3
    pairs = list(zip(points, bands, strict=False))
    upper = [(axes.x(point.dollars), axes.y(1 - band.low)) for point, band in pairs]
    lower = [(axes.x(point.dollars), axes.y(1 - band.high)) for point, band in pairs]
    line = [(axes.x(point.dollars), axes.y(1 - point.wrong)) for point in points]
    step = max(1, len(points) // _DOTS)
    dots = [
        Dot(x, y, f"dial {p.dial:.2f}: {dollars(p.dollars)}, {100 * p.wrong:.1f} % wrong")
        for (x, y), p in list(zip(line, points, strict=True))[::step]
    ]
    return Plot(
        label=f"Share of right answers over dollars, for every threshold on {found.signal}",
        band=_path([*upper, *reversed(lower)]) + "Z" if pairs else "",
        curve=_path(line),
        chance=_path([line[0], line[-1]]),
        x_ticks=[Tick(axes.x(at), dollars(at)) for at in _steps(0.0, most, ticks)],
        y_ticks=[Tick(axes.y(at), f"{100 * at:.0f} %") for at in _steps(axes.low, 1.0)],
        dots=dots,
        named=_named(found, axes, line),
        right=axes.right,
        bottom=axes.bottom,
        width=size[0],
        height=size[1],
    )


def _named(found: Findings, axes: _Axes, line: Sequence[tuple[float, float]]) -> list[Named]:
    first, last = line[0], line[-1]
    x, y = axes.x(found.would_pay), axes.y(1 - found.wrong.share)
    reach = (
        axes.x(max(found.would_pay - found.would_pay_reach, 0.0)),
        axes.x(found.would_pay + found.would_pay_reach),
        axes.y(1 - found.wrong.high),
        axes.y(1 - found.wrong.low),
    )
    below = y + 34 < axes.bottom
    middle = min(max(x, _LEFT + 110), axes.right - 110)
    text = f"this threshold: {dollars(found.would_pay)}, {100 * found.wrong.share:.1f} % wrong"
    return [
        Named(*first, "local first, never asks", LOCAL, (first[0] + 10, first[1] + 5), "start"),
        Named(*last, "cloud alone", QUIET, (last[0] - 8, last[1] + 22), "end"),
        Named(x, y, text, SYSTEM, (middle, y + 34 if below else y - 20), "middle", reach),
    ]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _floor(value: float) -> float:
    """To a twentieth below."""
    return math.floor(value * 20 - 1e-9) / 20


def _steps(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from low to high, about so many."""
    span = high - low
    unit = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(unit * by for by in (1, 2, 5, 10) if span / (unit * by) <= wanted + 1)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first
    return [(first + i) * step for i in range(count + 1)]
