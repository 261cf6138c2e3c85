"""The budget's promise, tried: no overshoot, no false refusal, nothing held for ever.

    python bench/ledger.py [--url URL] [--requests 10000] [--at-once 256] [--replicas 2]
                           [--kills 100] [--durable] [--out FILE]

A cap pays for a tenth of the requests. Each sees, reserves, calls an upstream over a real socket,
which uses what it likes up to the limit that it was given, and settles; a tenth of the clients hang
up while the upstream writes. Then processes that do the same are ended by `kill -9` at random
moments, and whoever comes next resolves what they left. After both:

    overshoot        what was spent beyond the cap
    false_refusals   refused requests that what is left in the end would have paid for: spending
                     only grows, so it would have paid for them at every moment before
    difference       what the ledger has, minus what the upstream says it served
    holds            room that is still held

--url: postgresql://..., or a file (SQLite: use --replicas 1, or see several processes share one
file). Without it a file in a temporary folder. `pair` is the processor's time for one reservation
and its settlement, one after the other and many at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import sqlite3
import statistics
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from understudy.environment import environment
from understudy.store.batches import AsyncLedger
from understudy.store.caps import Amounts, Cap, Refusal
from understudy.store.database import open_database
from understudy.store.ledger import Ledger
from understudy.store.operations import Hold
from understudy.store.tables import accounts, holds
from understudy.types import Cost

LEAST, MOST = 20, 400  # tokens of an answer
DOLLARS = 3e-6  # a token
_PROMPT = 50
DURABLE = "UNDERSTUDY_BENCH_DURABLE"  # in the environment, for the other processes
HOLD_SECONDS = 6.0  # short, so that holds of calls that never reached the upstream soon expire
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["bench.ledger"])


def cost_of(tokens: int) -> Cost:
    return Cost(1, _PROMPT, tokens, dollars=round((_PROMPT + tokens) * DOLLARS, 12))


class Upstream:
    """A paid model on a socket. It serves on when whoever called hangs up, and keeps the bill.

    Lines: `call ID MAX_TOKENS` is answered with the tokens that were used, once they are written;
    `usage ID` with the tokens that were used, `pending`, or `unknown`.
    """

    def __init__(self, path: str, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self.served: dict[str, int] = {}
        self._pending: set[str] = set()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._serve()], daemon=True)
        self._thread.start()
        self._begun.wait()

    @property
    def bill(self) -> Amounts:
        total = Amounts()
        for tokens in list(self.served.values()):
            total = total.plus(Amounts.of(cost_of(tokens)))
        return total

    def wait(self) -> None:
        while self._pending:
            time.sleep(0.01)

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._talk, self.path)
        self._begun.set()
        async with server:
            await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb, name, *rest = [*(await reader.readline()).decode().split(), "", ""]
        if not name:  # hung up before it said anything
            pass
        elif verb == "call":
            self._pending.add(name)
            writer.write(f"{await self._write(name, int(rest[0]))}\n".encode())
        else:
            known = "pending" if name in self._pending else "unknown"
            writer.write(f"{self.served.get(name, known)}\n".encode())
        writer.close()

    async def _write(self, name: str, most: int) -> int:
        await asyncio.sleep(random.uniform(0, 2 * self.seconds))
        self.served[name] = random.randint(1, most)
        self._pending.discard(name)
        return self.served[name]


async def said(path: str, line: str) -> str:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(f"{line}\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


async def usage_of(path: str, hold: Hold) -> Cost:
    """What the upstream says it served for a hold."""
    while (answer := await said(path, f"usage {hold.request_id}")) == "pending":
        await asyncio.sleep(0.01)
    return Cost() if answer == "unknown" else cost_of(int(answer))


async def request(ledger: AsyncLedger, path: str, name: str, hangs_up: bool) -> str:
    """One question: served, refused, or refused although it need not be final."""
    scopes = ("total", f"key:{hash(name) % 20}")
    ledger.see(scopes)
    found = await ledger.reserve(scopes, cost_of(MOST), cost_of(LEAST), name)
    if isinstance(found, Refusal):
        return "refused" if found.final else "waited in vain"
    call = asyncio.ensure_future(said(path, f"call {name} {found.cost.completion_tokens}"))
    if hangs_up:
        await asyncio.wait([call], timeout=random.uniform(0, 0.01))
        call.cancel()
        ledger.settle(found, await usage_of(path, found))
        return "hung up"
    ledger.settle(found, cost_of(int(await call)))
    return "served"


def replica(url: str, path: str, cap: float, numbers: range, at_once: int) -> dict[str, int]:
    """A process with its share of the requests; how they ended."""

    async def run() -> dict[str, int]:
        counts: dict[str, int] = {}
        todo = iter(numbers)

        async def client(ledger: AsyncLedger) -> None:
            for number in todo:
                outcome = await request(ledger, path, f"r{number}", number % 10 == 0)
                counts[outcome] = counts.get(outcome, 0) + 1

        async with AsyncLedger(ledger_of(url, cap), patience=300) as ledger:
            await asyncio.gather(*(client(ledger) for _ in range(at_once)))
        return counts

    return asyncio.run(run())


def ledger_of(url: str, cap: float) -> Ledger:
    caps = [Cap.of("total", "dollars", cap, "month"), Cap.of("key:*", "calls", 10**6, "day")]
    database = open_database(url, durable=DURABLE in os.environ)
    return Ledger(database, caps, hold_seconds=HOLD_SECONDS)


def concurrent(url: str, path: str, requests: int, at_once: int, replicas: int) -> dict[str, Any]:
    """Many at once over one ledger."""
    upstream = Upstream(path, 0.005)
    cap = round(requests / 10 * cost_of(MOST // 2).dollars, 9)
    watched = Watch(url, cap)
    shares = [range(start, requests, replicas) for start in range(replicas)]
    began = time.perf_counter()
    with ProcessPoolExecutor(replicas, mp_context=_FORK) as pool:
        parts = [
            pool.submit(replica, url, path, cap, share, at_once // replicas) for share in shares
        ]
        counts: dict[str, int] = {}
        for part in parts:
            for outcome, number in part.result().items():
                counts[outcome] = counts.get(outcome, 0) + number
    seconds = time.perf_counter() - began
    watched.stop()
    upstream.wait()
    refused = counts.get("refused", 0) + counts.get("waited in vain", 0)
    ledger = ledger_of(url, cap)
    left = cap - ledger.spent("total").dollars
    return {
        "requests": requests,
        "outcomes": counts,
        "seconds": seconds,
        "cap": cap,
        "highest": watched.highest,
        "false_refusals": refused if left >= cost_of(LEAST).dollars else 0,
        **compared(ledger, upstream, cap),
    }


class Watch(threading.Thread):
    """Looks at the account again and again: what is spent and held together."""

    def __init__(self, url: str, cap: float) -> None:
        super().__init__(daemon=True)
        self.highest = 0.0
        self._ended = threading.Event()
        self._database = ledger_of(url, cap).database
        self.start()

    def run(self) -> None:
        both = func.max(accounts.c.dollars + accounts.c.held_dollars)
        while not self._ended.wait(0.02):
            with self._database.reading() as connection:
                query = select(both).where(accounts.c.scope == "total")
                found = connection.execute(query).scalar() or 0
            self.highest = max(self.highest, found / 10**12)

    def stop(self) -> None:
        self._ended.set()
        self.join()


def compared(ledger: Ledger, upstream: Upstream, cap: float) -> dict[str, Any]:
    spent = ledger.spent("total")
    bill = upstream.bill
    with ledger.database.reading() as connection:
        held = connection.execute(select(func.count()).select_from(holds)).scalar()
        open_amounts = connection.execute(select(func.sum(accounts.c.held_dollars))).scalar()
    return {
        "spent": spent.dollars,
        "overshoot": max(0.0, spent.dollars - cap),
        "difference": Amounts.of(spent).minus(bill)._asdict(),
        "holds": held,
        "held": int(open_amounts or 0),
    }


def spend_for_ever(url: str, path: str, cap: float, name: str, at_once: int) -> None:
    """A process that will be killed."""

    async def run() -> None:
        async def client(ledger: AsyncLedger, place: int) -> None:
            number = 0
            while True:
                number += 1
                outcome = await request(ledger, path, f"{name}-{place}-{number}", number % 10 == 0)
                if outcome != "served":
                    await asyncio.sleep(0.01)

        def usage(hold: Hold) -> Any:
            return usage_of(path, hold)

        async with AsyncLedger(ledger_of(url, cap), usage=usage) as ledger:
            await asyncio.gather(*(client(ledger, place) for place in range(at_once)))

    asyncio.run(run())


async def resolve_all(url: str, path: str, cap: float) -> None:
    """A process that comes after them and stays until nothing is held."""
    ledger = ledger_of(url, cap)

    def usage(hold: Hold) -> Any:
        return usage_of(path, hold)

    async with AsyncLedger(ledger, usage=usage):
        for _ in range(600):
            with ledger.database.reading() as connection:
                if not connection.execute(select(func.count()).select_from(holds)).scalar():
                    return
            await asyncio.sleep(0.05)


def crashes(url: str, path: str, kills: int, at_once: int = 16) -> dict[str, Any]:
    """`kill -9` at random moments."""
    upstream = Upstream(path, 0.003)
    cap = 1000.0
    found = 0
    for number in range(kills):
        child = _FORK.Process(
            target=spend_for_ever, args=(url, path, cap, f"k{number}", at_once), daemon=True
        )
        served = len(upstream.served)
        child.start()
        while child.is_alive() and len(upstream.served) == served:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.3))
        child.kill()
        child.join()
        found += open_holds(url, cap) > 0
    upstream.wait()
    asyncio.run(resolve_all(url, path, cap))
    ledger = ledger_of(url, cap)
    return {
        "kills": kills,
        "that_left_holds": found,
        "served": len(upstream.served),
        **compared(ledger, upstream, cap),
    }


def open_holds(url: str, cap: float) -> int:
    with ledger_of(url, cap).database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(holds)).scalar() or 0)


async def pairs(url: str, count: int) -> dict[str, Any]:
    """The processor's time of a reservation and its settlement."""
    ledger = AsyncLedger(ledger_of(url, 10**6))
    scopes = ("total", "key:pair")

    async def pair() -> None:
        found = await ledger.reserve(scopes, cost_of(MOST), cost_of(LEAST))
        assert isinstance(found, Hold)
        await ledger.settle(found, cost_of(LEAST))

    async def many(number: int) -> None:
        for _ in range(number):
            await pair()

    found = {}
    for at_once in (1, 32):
        await pair()
        laps = []
        for _ in range(5):
            loop, every, wall = time.thread_time(), time.process_time(), time.perf_counter()
            await asyncio.gather(*(many(count // 5 // at_once) for _ in range(at_once)))
            done = count // 5 // at_once * at_once
            after = time.thread_time(), time.process_time(), time.perf_counter()
            before = loop, every, wall
            laps.append([(b - a) / done * 1e3 for a, b in zip(before, after, strict=True)])
        names = ("event_loop_ms", "all_threads_ms", "wall_ms")
        middle = [statistics.median(lap) for lap in zip(*laps, strict=True)]
        found[f"{at_once} at once"] = dict(zip(names, middle, strict=True))
    await ledger.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--durable", action="store_true", help="SQLite flushes every commit")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.durable:
        os.environ[DURABLE] = "1"
    with tempfile.TemporaryDirectory() as folder:
        url = given.url or f"{folder}/ledger.db"
        found: dict[str, Any] = {
            "environment": environment(),
            "sqlite": sqlite3.sqlite_version,
            "database": url.partition("://")[0] if "://" in url else "sqlite",
            "a_commit_is_flushed": given.durable if "://" not in url else "as PostgreSQL is set",
            "command": "python bench/ledger.py "
            + " ".join(
                f"--{name.replace('_', '-')} {value}"
                for name, value in vars(given).items()
                if name != "url" and value
            ),
        }
        found["pair"] = asyncio.run(pairs(url, given.pairs))
        print(json.dumps(found["pair"], indent=2))
        found["concurrent"] = concurrent(
            fresh(url, "a"), f"{folder}/a", given.requests, given.at_once, given.replicas
        )
        print(json.dumps(found["concurrent"], indent=2))
        found["crashes"] = crashes(fresh(url, "b"), f"{folder}/b", given.kills)
        print(json.dumps(found["crashes"], indent=2))
    if given.out:
        given.out.write_text(json.dumps(found, indent=2) + "\n")


def fresh(url: str, name: str) -> str:
    """A ledger with nothing in it."""
    if "://" not in url:
        return f"{url}.{name}"
    database = open_database(url)
    with database.writing() as connection:
        for table in ("accounts", "holds", "minutes", "resolved"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    database.close()
    return url


if __name__ == "__main__":
    main()
