"""What was spent over time, against the caps: how full each cap was at the end of each step."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sqlalchemy import func, select

from understudy.gateway.pages.history import Span
from understudy.store.caps import Cap, in_unit
from understudy.store.database import Database
from understudy.store.tables import minutes
from understudy.store.windows import Window, paced

Spent = Mapping[int, int]  # by the minute (or the first minute of a step), in whole units


@dataclass(frozen=True, slots=True)
class Course:
    """How a scope stood to a cap at the end of each step, in the cap's unit."""

    cap: Cap
    scope: str
    spent: list[float]
    allowed: list[float]  # the cap; where it is paced, what it had let go by then


def course(
    database: Database, cap: Cap, scope: str, span: Span, starts: Sequence[int], now: float
) -> Course:
    """Of a cap on dollars, tokens or calls; what a share was of is not kept over time."""
    ends = [start + span.step for start in starts]
    first = cap.window.start(starts[0])
    coarse = max(span.step, cap.window.minutes // 240) if cap.window.kind == "rolling" else None
    spent = _read(database, scope, cap.unit, (first, starts[0]), coarse)
    spent |= _read(database, scope, cap.unit, (starts[0], ends[-1]), span.step)
    filled = filled_at(spent, cap.window, ends)
    allowed = [allowed_at(cap, min(end * 60.0, now)) for end in ends]
    return Course(
        cap,
        scope,
        [in_unit(cap.unit, each) for each in filled],
        [in_unit(cap.unit, each) for each in allowed],
    )


def filled_at(spent: Spent, window: Window, ends: Sequence[int]) -> list[int]:
    """What of a window was spent before each of these minutes.

    spent: by minute. A window that begins anew at the end of a step is still the old one then.
    """
    times = sorted(spent)
    sums = [0, *accumulate(spent[time] for time in times)]

    def before(minute: int) -> int:
        return sums[bisect_left(times, minute)]

    return [before(end) - before(window.start(end - 1)) for end in ends]


def allowed_at(cap: Cap, now: float) -> int:
    """What may have been spent by then."""
    if not cap.paced:
        return cap.most
    minute = int((now - 0.001) // 60)
    start, end = cap.window.start(minute), cap.window.end(minute)
    assert end is not None, "only windows of the calendar are paced"
    return paced(cap.most, cap.at_once, start, end, now)


def _read(
    database: Database, scope: str, unit: str, between: tuple[int, int], step: int | None
) -> dict[int, int]:
    """Spending by the step, at its first minute; step None: all of it at the first of all.

    Windows of the calendar begin at full hours, in some time zones at half or quarter ones, so that
    a step of ten minutes or less nearly never is in two of them.
    """
    first, end = between
    if first >= end:
        return {}
    when = minutes.c.minute // (step or end)
    query = (
        select(when.label("step"), func.sum(minutes.c[unit]))
        .where(minutes.c.scope == scope, minutes.c.minute >= first, minutes.c.minute < end)
        .group_by("step")
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return {max(int(place) * (step or end), first): int(total) for place, total in rows}
