"""Tables of what the gateway's measurements found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]
Table = tuple[list[str], list[list[str]]]


def added_rows(record: Record, part: str) -> Table:
    """A row per side: milliseconds at the median and the 99th percentile, and what it adds."""
    rows = []
    for name, row in record["result"][part].items():
        cells = [name]
        for prefix in ("", "added_", "beyond_relay_"):
            for kind in ("median", "p99"):
                found = row.get(f"{prefix}{kind}_ms")
                cells.append("" if found is None else f"{found:.2f}")
        rows.append(cells)
    header = ["", "median, ms", "p99, ms", "added", "added, p99"]
    return [*header, "beyond the relay", "beyond it, p99"], rows


def load_rows(record: Record) -> Table:
    """A row per side: requests a second, and for each second of the processor."""
    rows = []
    for name, row in record["result"]["load"].items():
        if name == "direct":
            continue
        core = row["requests_per_second_and_core"]
        rows.append([name, f"{row['requests_per_second']:.0f}", f"{core:.0f}" if core else ""])
    at_once = record["settings"]["at_once"]
    return [f"{at_once} at once", "requests/s", "requests/s and core"], rows


def memory_rows(record: Record) -> Table:
    found = record["result"]["memory"]
    sizes = [found[f"megabytes_{name}"] for name in ("after_a_fifth", "at_the_end", "at_most")]
    slope = found["megabytes_per_100000_requests"]
    cells = [f"{found['requests']:,}", *(f"{size:.0f}" for size in sizes), f"{slope:+.1f}"]
    header = ["requests", "MB after a fifth", "MB at the end", "MB at most"]
    return [*header, "MB more per 100,000"], [cells]


def budget_rows(record: Record) -> Table:
    """A row per database and part: what should be 0, and of how many calls it is said."""
    rows = []
    for database, parts in record["result"].items():
        for name, found in parts.items():
            refused = found.get("false_refusals")
            wrong = len(found["wrong_by_id"])
            difference = found["difference"]["dollars"] / 1e12
            rows.append(
                [
                    f"{database}, {name}",
                    str(found["replicas"]),
                    f"{found['served']:,}",
                    f"{found['overshoot_dollars']:g}",
                    "" if refused is None else str(refused),
                    f"{difference:g}",
                    f"{found['compared_by_id']:,}",
                    str(wrong),
                    str(found["holds"]),
                ]
            )
    header = ["", "gateways", "calls served", "overshoot, $", "false refusals"]
    return [
        *header,
        "ledger minus upstream, $",
        "calls compared by id",
        "of them wrong",
        "left held",
    ], rows


def engine_rows(record: Record) -> Table:
    """A row per model: tokens a second of one stream and of many, beside transformers."""
    rows = []
    for name, found in record.items():
        engine, theirs = found["engine"], found.get("transformers", {})
        rows.append(
            [
                f"{name}, {found['streams']} streams of {found['tokens']} tokens",
                *(f"{engine[side]['wall']:.0f}" for side in ("one", "many")),
                f"{engine['ratio']['wall']:.1f}",
                *(f"{theirs[side]['wall']:.0f}" if theirs else "" for side in ("one", "many")),
            ]
        )
    header = ["tokens a second", "one stream", "all of them", "times one"]
    return [*header, "transformers, one row", "as many rows"], rows


def swap_rows(record: Record) -> Table:
    """A row per model: versions that came and went under load."""
    rows = []
    for name, found in record.items():
        swaps = found["swaps"]
        seconds = [f"{swaps['visible'][kind]:.2f}" for kind in ("median", "most")]
        counts = [str(swaps[kind]) for kind in ("swaps", "requests", "failed", "wrong")]
        rows.append([f"{name}, {found['streams']} streams", *counts, *seconds])
    header = ["", "swaps", "requests", "failed", "of a wrong version"]
    return [*header, "seconds until visible", "at most"], rows


def page_rows(record: Record) -> Table:
    """A row per page: how long the server takes, and reading the events themselves instead."""
    rows = []
    for name, found in record["result"].items():
        if not isinstance(found, dict):
            continue
        page = found.get("page", found)
        events = found.get("events")
        cells = [f"{page[kind]:,.3g}" for kind in ("median", "most")]
        rows.append([name, *cells, f"{events['median']:,.0f}" if events else ""])
    return [f"{record['settings']['events']:,} events", "ms", "at most", "from events, ms"], rows


def of_part(part: str) -> Callable[[Record], Table]:
    return lambda record: added_rows(record, part)


TABLES: dict[str, tuple[str, Callable[[Record], Table]]] = {
    "gateway overhead": ("gateway", of_part("calls")),
    "gateway first token": ("gateway", of_part("first_token")),
    "gateway load": ("gateway", load_rows),
    "gateway memory": ("gateway", memory_rows),
    "gateway budget": ("gateway_budget", budget_rows),
    "engine": ("engine", engine_rows),
    "engine swaps": ("engine", swap_rows),
    "dashboard": ("gateway_pages", page_rows),
}
