"""Two books beside each other: what the gateways' ledger charged, and what the upstream served."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from gateway_servers import PRICES
from sqlalchemy import func, select

from understudy.clouds.prices import Prices
from understudy.gateway.upstreams.bounds import cost_at_most, cost_of, prompt_tokens_at_most
from understudy.store.caps import Amounts
from understudy.store.database import Database, open_database, open_events
from understudy.store.ledger import Ledger
from understudy.store.tables import accounts, events, holds, resolved
from understudy.types import Cost

TABLE = Prices(PRICES["prompt"], PRICES["prompt"], PRICES["completion"])
LEAST_TOKENS = 16  # the gateway's own: what less is left for is not asked

Book = dict[str, tuple[Amounts, float]]  # by the call's id: what was served, and when it was done


def book_of(upstream: str) -> Book:
    with urllib.request.urlopen(f"{upstream}/book", timeout=60) as answer:
        found = json.load(answer)
    return {
        name: (_amounts(calls, prompt, completion), done)
        for name, (calls, prompt, completion, done) in found.items()
    }


def _amounts(calls: int, prompt: int, completion: int) -> Amounts:
    cost = cost_of(TABLE, prompt, completion)
    return Amounts.of(Cost(calls, prompt, completion, dollars=cost.dollars))


def total_of(book: Book) -> Amounts:
    total = Amounts()
    for amounts, _ in book.values():
        total = total.plus(amounts)
    return total


def least_of(body: bytes, max_tokens: int) -> int:
    """Picodollars that a question must have room for."""
    prompt = prompt_tokens_at_most(json.loads(body), len(body))
    tokens = min(LEAST_TOKENS, max_tokens)
    return Amounts.of(cost_at_most(TABLE, prompt, tokens)).dollars


def false_refusals(refused: list[float], book: Book, cap: int, least: int) -> int:
    """Refusals at a moment when the upstream had served so little that the cap paid for one more.

    refused: when each was told, by the clock of the book.
    """
    steps = sorted((done, amounts.dollars) for amounts, done in book.values())
    served, place, found = 0, 0, 0
    for at in sorted(refused):
        while place < len(steps) and steps[place][0] <= at:
            served += steps[place][1]
            place += 1
        found += served + least <= cap
    return found


def held(database: Database) -> tuple[int, int]:
    """Holds that are open, and picodollars that the accounts have as held."""
    with database.reading() as connection:
        count = connection.execute(select(func.count()).select_from(holds)).scalar()
        amount = connection.execute(select(func.sum(accounts.c.held_dollars))).scalar()
    return int(count or 0), int(amount or 0)


def wait_for_holds(url: str, seconds: float) -> float:
    """Until nothing is held; how long that took."""
    database, started = open_database(url), time.monotonic()
    while held(database)[0] and time.monotonic() - started < seconds:
        time.sleep(0.05)
    database.close()
    return time.monotonic() - started


def compared(url: str, book: Book, cap: int) -> dict[str, Any]:
    """The ledger minus the upstream's book, in sums and by the ids of calls.

    A process that is killed may take the last events with it; the sums have those calls all the
    same.
    """
    database, total = open_database(url), total_of(book)
    spent = Amounts.of(Ledger(database).spent("total"))
    count, amount = held(database)
    charged = charges(url, database)
    database.close()
    wrong = {
        name: [list(amounts), list(book[name][0]) if name in book else None]
        for name, amounts in charged.items()
        if amounts != (book[name][0] if name in book else Amounts())
    }
    return {
        "served": total.calls,
        "served_dollars": total.dollars / 1e12,
        "overshoot_dollars": max(total.dollars - cap, spent.dollars - cap, 0) / 1e12,
        "difference": spent.minus(total)._asdict(),
        "holds": count,
        "held_dollars": amount / 1e12,
        "compared_by_id": len(charged.keys() & book.keys()),
        "only_in_sums": len(book.keys() - charged.keys()),
        "wrong_by_id": dict(list(wrong.items())[:20]),
    }


def charges(url: str, database: Database) -> dict[str, Amounts]:
    """By the ids of calls: what their events or the resolved holds say that they cost."""
    found: dict[str, Amounts] = {}
    with database.reading() as connection:
        for row in connection.execute(select(resolved)):
            tokens = row.prompt_tokens + row.completion_tokens
            found[row.request_id] = Amounts(row.calls, tokens, row.dollars)
    kept = open_events(url)
    columns = (events.c.signals, events.c.calls, events.c.dollars)
    tokens = events.c.cloud_prompt_tokens + events.c.cloud_completion_tokens
    with kept.reading() as connection:
        for signals, calls, dollars, used in connection.execute(select(*columns, tokens)):
            if name := signals.get("call_id"):
                found[name] = Amounts(calls, used, dollars)
    kept.close()
    return found
