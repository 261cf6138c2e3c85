"""What a gateway adds to a call: understudy beside a bare relay and LiteLLM's proxy, in one run.

    python bench/gateway.py                               # makes an environment for LiteLLM
    python bench/gateway.py --litellm-python PATH         # uses one that has it
    python bench/gateway.py --sides relay understudy --rounds 200 --memory-requests 0

All stand in front of one upstream of ours, a process of its own that answers at once. Question and
answer have 1 KB each and go over kept connections. One client calls the upstream directly and
through each of them, in turns whose order is drawn anew every round; `added` is a quantile of the
wall clock through a gateway, minus that of the direct calls. `beyond the relay` is added by what a
gateway does beyond passing bytes: ours checks the key and the question, reserves, settles, and
keeps an event. Time to a stream's first token likewise.

understudy serves model: cloud with a key, a cap, ledger and events on, in SQLite: commits survive
the end of the process at any moment; `understudy, durable` flushes each of them to the disk too.
LiteLLM has a key and no database: it keeps neither spending nor events. Every gateway has one
worker, on a processor core that client and upstream leave alone.

Under load the same requests come many at once; `requests a second and core` are by the processor
time of the gateway's processes. Memory is looked at over --memory-requests through understudy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import gateway_servers as servers
from gateway_client import Load, Sequential, body_of, request_of
from gateway_servers import ROOT, Server

SIDES = ("relay", "understudy", "understudy, durable", "litellm")
DIRECT, RELAY, OURS = "direct", "relay", "understudy"
CAP = {"dollars": 1_000_000, "per": "day"}
FSYNC = {
    "understudy": "SQLite, write-ahead log, synchronous=NORMAL: a commit survives the end of the "
    "process at any moment; the last ones may be lost with power",
    "understudy, durable": "SQLite, write-ahead log, synchronous=FULL: every commit is flushed to "
    "the disk",
    "litellm": "no database: nothing is kept",
}
Row = dict[str, Any]


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which that part lies, between neighbours where it falls between them."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def added(seconds: dict[str, list[float]]) -> dict[str, Row]:
    """Milliseconds of each side at the median and the 99th percentile, and what it adds."""
    found: dict[str, Row] = {}
    for name, values in seconds.items():
        row: Row = {}
        for label, part in (("median", 0.5), ("p99", 0.99)):
            row[f"{label}_ms"] = 1000 * quantile(values, part)
            for other, key in ((DIRECT, "added"), (RELAY, "beyond_relay")):
                if other in seconds and name not in (DIRECT, other):
                    through, bare = quantile(values, part), quantile(seconds[other], part)
                    row[f"{key}_{label}_ms"] = 1000 * (through - bare)
        found[name] = row
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line with the least squares through these."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope


@contextmanager
def gateways(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, tuple[Server, str]]]:
    """Every side with the key that it wants, the upstream first."""
    cores = sorted(os.sched_getaffinity(0))
    own, other = (None, None) if args.no_pin or len(cores) < 2 else (cores[0], cores[-1])
    if own is not None:
        os.sched_setaffinity(0, {own})
    with ExitStack() as stack:

        def run(name: str, command: Sequence[str], port: int, **more: Any) -> Server:
            opened = servers.started(name.replace(", ", "-"), command, port, folder, **more)
            return stack.enter_context(opened)

        ports = [servers.free_port() for _ in range(5)]
        tokens, each = str(args.answer_tokens), ("--each-ms", str(args.each_ms), "--no-book")
        upstream = run(
            DIRECT,
            servers.upstream_command(ports[0], tokens, *each),
            ports[0],
            core=own,
            ready="/v1/models",
        )
        found = {DIRECT: (upstream, "")}
        for name, port in zip(args.sides, ports[1:], strict=False):
            if name == RELAY:
                command, key = servers.relay_command(port, upstream.url), ""
                found[name] = run(name, command, port, core=other), key
            elif name == "litellm":
                command = servers.litellm_command(args.litellm_python, port, upstream.url, folder)
                server = run(
                    name,
                    command,
                    port,
                    core=other,
                    ready="/health/liveliness",
                    environment=servers.LITELLM_ENVIRONMENT,
                )
                found[name] = server, servers.LITELLM_KEY
            else:
                file = str(folder / f"{name.replace(', ', '-')}.db")
                key = servers.made_key(file)
                store = {"url": file, "durable": "durable" in name, "caps": [CAP]}
                store["events"] = {"text": args.event_text}
                command = servers.understudy_command(
                    port, upstream.url, store, folder, name, keys="required"
                )
                found[name] = run(name, command, port, core=other), key
        try:
            yield found
        finally:
            if own is not None:
                os.sched_setaffinity(0, cores)


def latencies(
    sides: dict[str, tuple[Server, str]], body: bytes, rounds: int, warm: int, seed: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of every call until its first bytes and until its end, by side, in turns."""
    callers = {
        name: Sequential(server.port, request_of(body, key))
        for name, (server, key) in sides.items()
    }
    first: dict[str, list[float]] = {name: [] for name in sides}
    whole: dict[str, list[float]] = {name: [] for name in sides}
    order, luck = list(sides), random.Random(seed)
    for number in range(warm + rounds):
        luck.shuffle(order)
        for name in order:
            times = callers[name].call()
            if number >= warm:
                first[name].append(times.first)
                whole[name].append(times.whole)
    for caller in callers.values():
        caller.close()
    return first, whole


def under_load(sides: dict[str, tuple[Server, str]], body: bytes, args: argparse.Namespace) -> Row:
    """Requests a second of each side, in turns."""
    laps: dict[str, list[tuple[float, float, int]]] = {name: [] for name in sides}
    for number in range(args.laps):
        for name in list(sides) if number % 2 else [*sides][::-1]:
            server, key = sides[name]
            load = Load(server.port, request_of(body, key), args.load, args.at_once)
            before = server.cpu_seconds()
            seconds = asyncio.run(load.run())
            laps[name].append((seconds, server.cpu_seconds() - before, load.failures))
    found = {}
    for name, all_ in laps.items():
        wall = statistics.median(seconds for seconds, _, _ in all_)
        cpu = sum(seconds for _, seconds, _ in all_)
        found[name] = {
            "requests_per_second": args.load / wall,
            "requests_per_second_and_core": args.load * len(all_) / cpu if cpu else None,
            "failures": sum(failures for _, _, failures in all_),
        }
    return found


def memory(server: Server, key: str, body: bytes, count: int, at_once: int) -> Row:
    """Resident megabytes while so many requests pass; the first fifth is not looked at."""
    points, failures, done = [], 0, 0
    part = max(count // 100, 1)
    while done < count:
        load = Load(server.port, request_of(body, key), min(part, count - done), at_once)
        asyncio.run(load.run())
        done += load.count
        failures += load.failures
        points.append((float(done), server.resident_bytes() / 1e6))
    later = [point for point in points if point[0] > count / 5] or points
    return {
        "requests": done,
        "failures": failures,
        "megabytes_after_a_fifth": later[0][1],
        "megabytes_at_the_end": later[-1][1],
        "megabytes_at_most": max(megabytes for _, megabytes in points),
        "megabytes_per_100000_requests": 1e5 * slope(later),
        "points": [[number, round(megabytes, 2)] for number, megabytes in points],
    }


def measured(args: argparse.Namespace, folder: Path) -> Row:
    body = body_of(args.body_bytes)
    # A stream's answer is short: only its first token is looked at.
    streamed = body_of(args.body_bytes, stream=True, max_tokens=8)
    with gateways(args, folder) as sides:
        _, whole = latencies(sides, body, args.rounds, args.warm, args.seed)
        found: Row = {"calls": added(whole)}
        first, _ = latencies(sides, streamed, args.streams, args.warm, args.seed)
        found["first_token"] = added(first)
        found["load"] = under_load(sides, body, args) if args.load else {}
        if args.memory_requests and OURS in sides:
            count = args.memory_requests
            found["memory"] = memory(*sides[OURS], body, count, args.at_once)
    calls = found["calls"]
    if OURS in calls and "litellm" in calls:
        ratio = calls["litellm"]["added_median_ms"] / calls[OURS]["added_median_ms"]
        found["litellm_adds_times_as_much"] = ratio
    return found


def shown(found: Row) -> str:
    lines = []
    for part, label in (("calls", "a call"), ("first_token", "a stream's first token")):
        lines.append(f"{label}, ms: median and p99; added; beyond the relay")
        for name, row in found[part].items():
            cells = [f"  {name:22}"]
            for prefix in ("", "added_", "beyond_relay_"):
                pair = [row.get(f"{prefix}{kind}_ms") for kind in ("median", "p99")]
                if None not in pair:
                    cells.append(f"{pair[0]:8.3f} {pair[1]:8.3f}")
            lines.append("  ".join(cells))
    for name, row in found["load"].items():
        core = row["requests_per_second_and_core"] or float("nan")
        lines.append(f"  {name:22} {row['requests_per_second']:8.0f}/s {core:8.0f}/s and core")
    if "memory" in found:
        row = {k: v for k, v in found["memory"].items() if k != "points"}
        lines.append(f"memory: {row}")
    if ratio := found.get("litellm_adds_times_as_much"):
        lines.append(f"LiteLLM adds {ratio:.1f} times as much as understudy")
    return "\n".join(lines)


def parsed(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--rounds", type=int, default=2000, help="calls of each side, in turns")
    parser.add_argument("--streams", type=int, default=500, help="the same of streams")
    parser.add_argument("--warm", type=int, default=50, help="rounds before, not counted")
    parser.add_argument("--load", type=int, default=2000, help="requests of a lap under load")
    parser.add_argument("--laps", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--memory-requests", type=int, default=200_000)
    parser.add_argument("--body-bytes", type=int, default=1024)
    parser.add_argument("--answer-tokens", type=int, default=96, help="of 8 bytes each")
    parser.add_argument("--each-ms", type=float, default=1.0, help="between a stream's tokens")
    parser.add_argument("--event-text", choices=("off", "asked", "all"), default="asked")
    parser.add_argument("--no-pin", action="store_true", help="leave the cores to the system")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--litellm-python", help="one that has litellm[proxy]")
    parser.add_argument("--litellm-version", default=servers.LITELLM_VERSION)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "gateway.json")
    return parser.parse_args(given)


def command_of(args: argparse.Namespace) -> str:
    """The command of a record, without the folders of this machine."""
    usual, parts = vars(parsed([])), ["python bench/gateway.py"]
    for name, value in vars(args).items():
        if value == usual[name] or name in ("out", "litellm_python"):
            continue
        values = value if isinstance(value, list) else [] if value is True else [value]
        shown_ = (f'"{each}"' if " " in str(each) else str(each) for each in values)
        parts.append(" ".join([f"--{name.replace('_', '-')}", *shown_]))
    return " ".join(parts)


def main(given: Sequence[str] | None = None) -> Row:
    args = parsed(given)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if "litellm" in args.sides and not args.litellm_python:
            args.litellm_python = servers.litellm_python(place / "litellm", args.litellm_version)
        settings = {k: v for k, v in vars(args).items() if k not in ("out", "litellm_python")}
        record = servers.record_of(command_of(args), settings)
        record["fsync"] = {name: FSYNC[name] for name in args.sides if name in FSYNC}
        if "litellm" in args.sides:
            record["litellm"] = servers.version_of(args.litellm_python, "litellm")
        record["result"] = measured(args, place)
    print(shown(record["result"]), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    return record


if __name__ == "__main__":
    main()
