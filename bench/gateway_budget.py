"""The gateway's budget, tried on real processes: overshoot, false refusals, hang-ups, kill -9.

    python bench/gateway_budget.py
    python bench/gateway_budget.py --databases sqlite --requests 500 --kills 5

`understudy serve` without a local model stands in front of an upstream that keeps a book of what it
served, by the ids of the calls. With PostgreSQL there are two of it over one cluster that this
script starts, with SQLite one. Three parts, each on a ledger of its own:

    concurrent  many at once, a cap that pays for a tenth of them; half are streams, of which some
                clients hang up in the middle
    hang-ups    streams, and every client hangs up at a moment of its own
    crashes     traffic that goes on while gateways are ended by `kill -9` at random moments and
                started again

    overshoot       dollars beyond the cap, of the ledger or the upstream, whichever is more
    false refusals  refused at a moment when the upstream had served so little that the cap paid
                    for one more question
    difference      what the ledger charged, minus what the upstream served: calls, tokens and
                    picodollars (of a dollar a millionth of a millionth)
    wrong by id     calls whose event or resolved hold says something else than the book
    holds           room that is still held, and how long it took until none was
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import gateway_servers as servers
from gateway_books import book_of, compared, false_refusals, held, least_of, wait_for_holds
from gateway_client import body_of
from gateway_servers import ROOT, Server

from tests import postgres
from understudy.store.database import open_database

Row = dict[str, Any]
MAX_TOKENS = 64
BODY = {size: body_of(256, stream=size, max_tokens=MAX_TOKENS) for size in (False, True)}
PLENTY = 1000.0  # dollars
OPTIONS = "-c max_connections=100 -c fsync={fsync} -c synchronous_commit=on"


@dataclass
class Fleet:
    """Gateways over one ledger, and the upstream behind them."""

    url: str  # of the ledger
    upstream: Server
    folder: Path
    settings: dict[str, Any]
    replicas: list[Server] = field(default_factory=list)

    def open(self, count: int) -> None:
        for _ in range(count):
            self.replicas.append(self._start(len(self.replicas), servers.free_port()))
        for each in self.replicas:
            each.wait("/ready")

    def restart(self, number: int) -> None:
        """kill -9, and again from the beginning."""
        self.replicas[number].kill()
        self.replicas[number] = self._start(number, self.replicas[number].port)

    def _start(self, number: int, port: int) -> Server:
        name = f"replica-{number}"
        command = servers.understudy_command(
            port, self.upstream.url, folder=self.folder, name=name, **self.settings
        )
        return servers.start(name, command, port, self.folder)

    def stop(self) -> None:
        for each in self.replicas:
            each.process.terminate()
        for each in self.replicas:
            each.stop(60)


@contextmanager
def fleet(
    url: str, cap: float, count: int, args: argparse.Namespace, hold_seconds: float = 120
) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), servers.free_port()
        store = {"url": url, "caps": [{"dollars": cap}], "hold_seconds": hold_seconds}
        settings = {
            "store": store,
            "spending": {"wait_seconds": args.patience, "least_tokens": 16},
        }
        slow = ("--first-ms", str(args.first_ms), "--each-ms", str(args.each_ms))
        command = servers.upstream_command(port, f"1-{MAX_TOKENS}", *slow)
        with servers.started("upstream", command, port, folder, ready="/v1/models") as upstream:
            found = Fleet(url, upstream, folder, settings)
            try:
                found.open(count)
                yield found
            finally:
                found.stop()


@dataclass
class Traffic:
    """What clients do and what comes of it."""

    fleet: Fleet
    luck: random.Random
    streams: float = 0.5  # part of the requests
    hang_ups: float = 0.2  # of the streams
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: list[float] = field(default_factory=list)  # when

    async def run(self, count: int, at_once: int) -> None:
        todo = iter(range(count))

        async def client() -> None:
            for number in todo:
                await self.one(session, number)

        async with _session() as session:
            await asyncio.gather(*(client() for _ in range(at_once)))

    async def until(self, ended: asyncio.Event, at_once: int) -> None:
        async def client(place: int) -> None:
            number = place
            while not ended.is_set():
                number += at_once
                if await self.one(session, number) in ("broken", "not there"):
                    await asyncio.sleep(0.05)

        async with _session() as session:
            await asyncio.gather(*(client(place) for place in range(at_once)))

    async def one(self, session: aiohttp.ClientSession, number: int) -> str:
        replicas = self.fleet.replicas
        url = f"{replicas[number % len(replicas)].url}/v1/chat/completions"
        stream = self.luck.random() < self.streams
        leaves = stream and self.luck.random() < self.hang_ups
        after = self.luck.randint(0, MAX_TOKENS) if leaves else None
        try:
            found = await self._call(session, url, BODY[stream], after)
        except aiohttp.ClientConnectorError:
            found = "not there"
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            found = "broken"
        self.outcomes[found] += 1
        return found

    async def _call(
        self, session: aiohttp.ClientSession, url: str, body: bytes, leaves_after: int | None
    ) -> str:
        headers = {"content-type": "application/json"}
        async with session.post(url, data=body, headers=headers) as answer:
            if answer.status != 200:
                said = await answer.json()
                code = str(said["error"]["code"])
                if answer.status == 429 and code == "budget_exceeded":
                    self.refused.append(time.monotonic())
                    return "refused"
                return f"{answer.status} {code}"
            events, broken = 0, False
            async for line in answer.content:
                events += line.startswith(b"data: ")
                broken |= line.startswith(b'data: {"error"')
                if leaves_after is not None and events > leaves_after:
                    answer.close()
                    return "hung up"
            return "broken" if broken else "served"


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=600),
    )


def concurrent(url: str, count: int, args: argparse.Namespace) -> Row:
    """Many at once, with money for a tenth of them."""
    least = least_of(BODY[False], MAX_TOKENS)
    prompt, answer = len(json.loads(BODY[False])["messages"][0]["content"].split()), MAX_TOKENS / 2
    mean = (prompt * servers.PRICES["prompt"] + answer * servers.PRICES["completion"]) / 1e6
    cap = round(args.requests / 10 * mean, 9)
    with fleet(url, cap, count, args) as running:
        traffic, started = Traffic(running, random.Random(args.seed)), time.monotonic()
        asyncio.run(traffic.run(args.requests, args.at_once))
        seconds, waited = time.monotonic() - started, wait_for_holds(url, 120)
        book = book_of(running.upstream.url)
        running.stop()
        found = compared(url, book, round(cap * 1e12))
    return {
        "requests": args.requests,
        "at_once": args.at_once,
        "cap_dollars": cap,
        "least_dollars": least / 1e12,
        "seconds": seconds,
        "outcomes": dict(traffic.outcomes),
        "false_refusals": false_refusals(traffic.refused, book, round(cap * 1e12), least),
        "seconds_until_nothing_was_held": waited,
        **found,
    }


def hang_ups(url: str, count: int, args: argparse.Namespace) -> Row:
    """Every client hangs up at a moment of its own."""
    with fleet(url, PLENTY, count, args) as running:
        traffic = Traffic(running, random.Random(args.seed), streams=1.0, hang_ups=1.0)
        asyncio.run(traffic.run(args.hang_ups, min(args.at_once, 64)))
        waited = wait_for_holds(url, 120)
        book = book_of(running.upstream.url)
        running.stop()
        found = compared(url, book, round(PLENTY * 1e12))
    outcomes = {"outcomes": dict(traffic.outcomes), "seconds_until_nothing_was_held": waited}
    return {"streams": args.hang_ups, **outcomes, **found}


def crashes(url: str, count: int, args: argparse.Namespace) -> Row:
    """Gateways are killed at random moments while clients go on."""
    luck = random.Random(args.seed)

    async def killing(running: Fleet, traffic: Traffic) -> int:
        left, ended = 0, asyncio.Event()
        clients = asyncio.create_task(traffic.until(ended, args.crash_at_once))
        for _ in range(args.kills):
            before = traffic.outcomes["served"]
            while traffic.outcomes["served"] == before:
                await asyncio.sleep(0.01)
            await asyncio.sleep(luck.uniform(0, args.longest_life))
            number = luck.randrange(count)
            running.replicas[number].kill()
            left += _has_holds(url)
            running.restart(number)
            await asyncio.to_thread(running.replicas[number].wait, "/ready")
        ended.set()
        await clients
        return left

    with fleet(url, PLENTY, count, args, hold_seconds=6) as running:
        traffic, started = Traffic(running, random.Random(args.seed)), time.monotonic()
        left_holds = asyncio.run(killing(running, traffic))
        seconds, waited = time.monotonic() - started, wait_for_holds(url, 120)
        book = book_of(running.upstream.url)
        running.stop()
        found = compared(url, book, round(PLENTY * 1e12))
    return {
        "kills": args.kills,
        "that_left_holds": left_holds,
        "seconds": seconds,
        "outcomes": dict(traffic.outcomes),
        "seconds_until_nothing_was_held": waited,
        **found,
    }


def _has_holds(url: str) -> bool:
    database = open_database(url)
    found = held(database)[0] > 0
    database.close()
    return found


PARTS = {"concurrent": concurrent, "hang-ups": hang_ups, "crashes": crashes}


def tried(database: str, args: argparse.Namespace) -> Row:
    """All parts on one kind of database, each on a ledger of its own."""
    found: Row = {}
    for name in args.parts:
        with ledger(database, args) as url:
            count = args.replicas if database == "postgres" else 1
            found[name] = {"replicas": count, **PARTS[name](url, count, args)}
        print(database, name, json.dumps(found[name], indent=1), flush=True)
    return found


@contextmanager
def ledger(database: str, args: argparse.Namespace) -> Iterator[str]:
    if database == "postgres":
        with postgres.cluster(OPTIONS.format(fsync=args.fsync)) as cluster:
            yield cluster.url
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/gateway.db"


def parsed(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = ("sqlite", "postgres")
    parser.add_argument("--databases", nargs="*", choices=kinds, default=list(kinds))
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--replicas", type=int, default=2, help="with PostgreSQL")
    parser.add_argument("--hang-ups", type=int, default=1000, help="streams")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--crash-at-once", type=int, default=16, help="clients while it is killed")
    parser.add_argument("--longest-life", type=float, default=1.0, help="seconds before a kill")
    parser.add_argument(
        "--patience", type=float, default=120.0, help="spending.wait_seconds: for others' holds"
    )
    parser.add_argument("--first-ms", type=float, default=20.0, help="of the upstream")
    parser.add_argument("--each-ms", type=float, default=1.0, help="between its tokens")
    parser.add_argument("--fsync", choices=("on", "off"), default="on", help="of PostgreSQL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "bench" / "results" / "gateway_budget.json"
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> Row:
    args = parsed(given)
    usual = vars(parsed([]))
    changed = {k: v for k, v in vars(args).items() if v != usual[k] and k != "out"}
    parts = [
        f"--{k.replace('_', '-')} {' '.join(map(str, v)) if isinstance(v, list) else v}"
        for k, v in changed.items()
    ]
    settings = {k: v for k, v in vars(args).items() if k != "out"}
    record = servers.record_of(" ".join(["python bench/gateway_budget.py", *parts]), settings)
    record["fsync"] = {
        "sqlite": "write-ahead log, synchronous=NORMAL",
        "postgres": f"fsync={args.fsync}, synchronous_commit=on",
    }
    record["result"] = {database: tried(database, args) for database in args.databases}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    return record


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
