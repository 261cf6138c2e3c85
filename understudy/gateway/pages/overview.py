"""What the first page shows of a span of time, and the figures of its charts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from understudy.errors import LedgerUnavailable
from understudy.gateway.engine import EngineLoad
from understudy.gateway.pages import decisions, history, spending
from understudy.gateway.pages.dashboard import Dashboard
from understudy.gateway.pages.history import Counts, History, Span
from understudy.gateway.standings import standings
from understudy.store.caps import UNITS, Cap
from understudy.store.keys import Key
from understudy.store.operations import Standing

_RECENT = 8
_MOST_COURSES = 6
_MOST_KEYS = 12
_LEDGER_SECONDS = 2.0


@dataclass(slots=True)
class Overview:
    history: History
    keys: Mapping[str, Key]
    recent: Sequence[Any]
    standings: list[Standing]
    courses: list[spending.Course]
    load: EngineLoad | None
    serving: str  # the local version; '': there is none
    alerts: list[str] = field(default_factory=list)

    @property
    def by_key(self) -> list[tuple[str, str, str, Counts]]:
        """Those that asked most: id, name, team and counts."""
        found = sorted(self.history.keys.items(), key=lambda each: -each[1].requests)[:_MOST_KEYS]
        return [(key, *self.named(key), counts) for key, counts in found]

    @property
    def unlisted_keys(self) -> int:
        return max(len(self.history.keys) - _MOST_KEYS, 0)

    @property
    def all_asked(self) -> float | None:
        """What it would have cost in dollars to ask every question, at the mean price of those that
        were; None: nothing tells."""
        total = self.history.total
        if not total.asked or not total.dollars:
            return None
        return total.dollars / total.asked * (total.requests - total.refused)

    def named(self, key: str) -> tuple[str, str]:
        """The name and the team of a key; its id, where it is not known."""
        known = self.keys.get(key)
        return (known.name, known.team) if known else (key, "")

    def cap_named(self, cap: Cap) -> str:
        """Such as dollars per day."""
        per = "" if cap.window.kind == "lifetime" else f" per {cap.window.name}"
        return f"{'share of questions' if cap.unit == 'share' else cap.unit}{per}"

    def scope_named(self, scope: str) -> str:
        """Whom a cap is for, in words."""
        kind, _, name = scope.partition(":")
        if kind == "key":
            return f"key {self.named(name)[0]}"
        return "in total" if scope == "total" else f"team {name}"


async def look(dashboard: Dashboard, span: Span) -> Overview:
    now = dashboard.clock()
    standings, alert = await _standings(dashboard)
    found = await asyncio.to_thread(_read, dashboard, span, standings, now)
    if alert:
        found.alerts.append(alert)
    return found


async def _standings(dashboard: Dashboard) -> tuple[list[Standing], str]:
    """How the scopes stand to their caps, and what is wrong with the ledger."""
    ledger = dashboard.ledger
    if ledger is None:
        return [], ""
    keys = await asyncio.to_thread(dashboard.known_keys)
    try:
        async with asyncio.timeout(_LEDGER_SECONDS):
            return await standings(ledger, keys.values(), dashboard.clock()), ""
    except (LedgerUnavailable, TimeoutError):
        return [], "The ledger cannot be reached, so no cloud is asked. Local answers go on."


def _read(dashboard: Dashboard, span: Span, standings: list[Standing], now: float) -> Overview:
    found = history.read(dashboard.events, span, now)
    return Overview(
        history=found,
        keys=dashboard.known_keys(),
        recent=decisions.recent(dashboard.events, decisions.Filter(), _RECENT),
        standings=standings,
        courses=_courses(dashboard, found, standings),
        load=dashboard.engine() if dashboard.engine else None,
        serving=dashboard.serving() if dashboard.serving else "",
    )


def _courses(
    dashboard: Dashboard, found: History, standings: list[Standing]
) -> list[spending.Course]:
    """Of the caps in total, dollars first, then those of teams and keys."""
    if dashboard.ledger is None:
        return []
    database = dashboard.ledger.ledger.database
    order = sorted(
        (each for each in standings if each.cap.unit != "share"),
        key=lambda each: (each.scope != "total", UNITS.index(each.cap.unit)),
    )
    return [
        spending.course(database, each.cap, each.scope, found.span, found.starts, found.now)
        for each in order[:_MOST_COURSES]
    ]


def charts(found: Overview) -> dict[str, Any]:
    """As the script reads it: columns of equal length; null where there is nothing."""
    steps = found.history.steps
    return {
        "span": found.history.span.name,
        "step": found.history.span.step * 60,
        "now": found.history.now,
        "times": found.history.times,
        "answers": {
            "local": [each.local for each in steps],
            "cloud": [each.cloud for each in steps],
            "refused": [each.refused for each in steps],
        },
        "first": _columns(found.history.first),
        "whole": _columns(found.history.whole),
        "spend": _spend(found),
    }


def _columns(times: history.Times) -> dict[str, list[float | None]]:
    return {f"p{100 * share:g}": [step[share] for step in times.steps] for share in history.SHARES}


def _spend(found: Overview) -> list[dict[str, Any]]:
    if not found.courses:
        spent = accumulate(step.dollars for step in found.history.steps)
        label = f"Spent over the {found.history.span.name}"
        return [{"label": label, "unit": "dollars", "spent": list(spent), "allowed": None}]
    return [
        {
            "label": f"{found.cap_named(each.cap)}, {found.scope_named(each.scope)}",
            "unit": each.cap.unit,
            "spent": each.spent,
            "allowed": each.allowed,
        }
        for each in found.courses
    ]
