"""How long the dashboard takes over a day of many requests, beside counting the events themselves.

    python bench/gateway_pages.py [--events 864000] [--days 1] [--keys 20] [--repeat 5] [--out FILE]

864,000 events are a day of ten requests a second. Milliseconds from the question to the finished
page, nothing kept from the time before; `events` counts answers and latencies of the same span
from the events by one SQL query each, as pages without sums would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from understudy.environment import environment
from understudy.gateway.door.door import Door
from understudy.gateway.pages import decisions, overview
from understudy.gateway.pages.dashboard import Dashboard
from understudy.gateway.pages.history import SPANS, Span
from understudy.gateway.pages.templates import Templates
from understudy.gateway.requests import Caller, ChatRequest, ModelCard, Outcome
from understudy.store.batches import AsyncLedger
from understudy.store.caps import Cap
from understudy.store.database import Database, open_database, open_events
from understudy.store.events import Event, EventWriter
from understudy.store.ledger import Ledger
from understudy.store.settings import EventSettings
from understudy.store.tables import events
from understudy.types import Cost

ROOT = Path(__file__).resolve().parents[1]
_AT_ONCE = 10_000


class NoCore:
    """Pages that only look ask nothing."""

    async def answer(self, request: ChatRequest, caller: Caller) -> Outcome:
        raise NotImplementedError

    async def models(self) -> list[ModelCard]:
        return []


def write(database: Database, count: int, days: float, keys: int, now: float) -> float:
    """Events evenly over the time until now; the seconds that each took to write."""
    luck = random.Random(1)
    writer = EventWriter(database, EventSettings(days=None))
    started = time.perf_counter()
    for first in range(0, count, _AT_ONCE):
        for number in range(first, min(first + _AT_ONCE, count)):
            asked = luck.random() < 0.2
            seconds = luck.lognormvariate(-1, 0.8)
            writer.add(
                Event(
                    id=f"chatcmpl-{number}",
                    at=now - 86_400 * days * (1 - number / count),
                    key=f"key_{luck.randrange(keys)}",
                    answered_by="cloud" if asked else "local",
                    why="the local model's request for help is not above the threshold",
                    model="tiny@1",
                    asked=asked,
                    prompt_tokens=100,
                    completion_tokens=50,
                    cost=Cost(1, 100, 50, dollars=0.001) if asked else Cost(),
                    seconds=seconds,
                    first_token_seconds=seconds / 3,
                )
            )
        writer.flush()
    writer.close()
    return (time.perf_counter() - started) / count


def counted(database: Database, span: Span, now: float) -> None:
    """What a page shows, from the events."""
    step = func.floor(events.c.at / (60 * span.step))
    since = events.c.at >= now - 60 * span.minutes
    sums = (func.count(), func.sum(events.c.dollars), func.avg(events.c.seconds))
    with database.reading() as connection:
        for group in ((step, events.c.answered_by), (events.c.key, events.c.answered_by)):
            connection.execute(select(*group, *sums).where(since).group_by(*group)).all()
        times = select(step, events.c.seconds, events.c.first_token_seconds).where(since)
        connection.execute(times).all()


def timed(work: Callable[[], Any], repeat: int) -> dict[str, float]:
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    return {"median": statistics.median(times), "most": max(times)}


def measure(folder: Path, given: Any) -> dict[str, Any]:
    now = time.time()
    database = open_events(folder / "pages.db")
    each = write(database, given.events, given.days, given.keys, now)
    ledger = Ledger(open_database(folder / "pages.db"), [Cap.of("total", "dollars", 5, "day")])
    dashboard = Dashboard(Door(NoCore()), database, AsyncLedger(ledger))
    templates = Templates()

    def page(span: Span) -> None:
        found = asyncio.run(overview.look(dashboard, span))
        templates.render(
            "overview.html",
            found=found,
            charts=overview.charts(found),
            span=span,
            spans=list(SPANS),
            now=now,
            key=None,
        )

    result: dict[str, Any] = {"microseconds_to_write": each * 1e6}
    for name, span in SPANS.items():
        ours = timed(lambda span=span: page(span), given.repeat)
        theirs = timed(lambda span=span: counted(database, span, now), 1)
        ratio = theirs["median"] / ours["median"]
        result[name] = {"page": ours, "events": theirs, "ratio": ratio}
    for who in ("", "cloud", "refused"):
        which = decisions.Filter(who)
        result[f"decisions {who or 'all'}"] = timed(
            lambda which=which: decisions.recent(database, which, 50), given.repeat
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=864_000)
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "bench" / "results" / "gateway_pages.json"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given)
    print(json.dumps(result, indent=1))
    settings = {name: getattr(given, name) for name in ("events", "days", "keys", "repeat")}
    record = {"environment": environment(), "settings": settings, "result": result}
    given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
