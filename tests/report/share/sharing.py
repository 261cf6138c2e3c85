"""The files of a finished run of agents that share, with invented figures."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from understudy.metrics import gain_per_log_cost, user_summary, value_of_information
from understudy.run import RunDirectory

Record = dict[str, Any]

# name, learner, what crosses, and what it adds to an accuracy
Sketch = tuple[str, str, tuple[str, ...], float]

THREE: tuple[Sketch, ...] = (
    ("modular, nothing", "modular", (), 0.0),
    ("modular, data", "modular", ("data",), 0.01),
    ("modular, modules", "modular", ("modules",), 0.03),
)
TWELVE: tuple[Sketch, ...] = (
    *THREE,
    ("modular, FedAvg", "modular", ("parameters",), 0.002),
    ("modular, FedProx", "modular", ("parameters",), 0.004),
    ("modular, FedFish", "modular", ("parameters",), 0.003),
    ("modular, modules, 2 candidates", "modular", ("modules",), 0.034),
    ("modular, modules, 3 candidates", "modular", ("modules",), 0.036),
    ("modular, all three", "modular", ("data", "parameters", "modules"), 0.045),
    ("monolithic, nothing", "monolithic", (), -0.03),
    ("monolithic, data", "monolithic", ("data",), 0.0),
    ("monolithic, FedAvg", "monolithic", ("parameters",), -0.012),
)
_FLOATS = {"data": 47_040, "data.query": 7_840, "parameters": 332_800, "modules": 4_160}
_FATES = {"arrives": 40, "trimmed": 0, "waits": 0, "superseded": 0, "lost": 0}


def written_share_run(
    path: Path,
    sketches: Sequence[Sketch] = THREE,
    agents: int = 3,
    tasks: int = 6,
    seeds: int = 2,
    fits: bool = True,
    fates: Record | None = None,
) -> RunDirectory:
    rng = random.Random(agents)
    variants: Record = {}
    settings = {"recipe": "share", "data": "generated", "agents": agents, "tasks": tasks}
    settings |= {"epochs": 100, "graph": {"topology": "full"}, "net": "mlp"}
    settings |= {"seeds": list(range(seeds)), "variants": {name: {} for name, *_ in sketches}}
    run = RunDirectory.create(path, settings)
    for each in sketches:
        variants[each[0]] = _variant(
            each, sketches, agents, tasks, seeds, fates or {}, rng, variants
        )
        _write_lines(run, each[0], variants[each[0]], rng)
    lines = _fits(variants) if fits else []
    head = {
        "quality": {"mean": 0.9, "low": 0.8, "high": 1.0},
        "cost": {"floats": 7},
        "per_user": [],
    }
    run.write(run.summary, head | {"variants": variants, "fits": lines})
    return run


def _variant(
    each: Sketch,
    sketches: Sequence[Sketch],
    agents: int,
    tasks: int,
    seeds: int,
    fates: Record,
    rng: random.Random,
    before: Record,
) -> Record:
    name, learner, shares, lift = each
    populations = [_seed(n, agents, tasks, shares, lift, fates, rng) for n in range(seeds)]
    scores = [agent["accuracy"] for seed in populations for agent in seed["agents"]]
    speeds = [[agent["learning_speed"] for agent in seed["agents"]] for seed in populations]
    alone = [n for n, kind, crosses, _ in sketches if kind == learner and not crosses and n != name]
    base = alone[0] if alone and shares else None
    floats, sent = (
        sum(sum(edge[unit].values()) for seed in populations for edge in seed["edges"]) / seeds
        for unit in ("floats", "bytes")
    )
    gain = None
    if base is not None:
        lone = before[base]["accuracy"]["mean"]
        gain = {"mean": 100 * (fmean(scores) - lone) / lone, "standard_error": 0.21}
    return {
        "learner": learner,
        "shares": list(shares),
        "base": base,
        "accuracy": _pair([fmean(a["accuracy"] for a in seed["agents"]) for seed in populations]),
        "learning_speed": _pair([fmean(each) for each in speeds]),
        "gain": gain,
        "floats": floats,
        "bytes": sent,
        "cost": floats / max(1, agents * (agents - 1)) / tasks,
        "users": {
            "weighted": user_summary(scores, range(90, 90 + len(scores))),
            "unweighted": user_summary(scores, [1] * len(scores), weights="none"),
        },
        "reveals": [f"{share} leave an agent." for share in shares],
        "seeds": populations,
    }


def _seed(
    number: int,
    agents: int,
    tasks: int,
    shares: tuple[str, ...],
    lift: float,
    fates: Record,
    rng: random.Random,
) -> Record:
    records = []
    for agent in range(agents):
        found = [min(1.0, rng.gauss(0.9 + lift + 0.01 * (agent % 3), 0.03)) for _ in range(tasks)]
        record = {"accuracy": fmean(found), "learning_speed": fmean(found) - 0.01, "tasks": found}
        records.append(record | {"modules": 4 + agent % 4})
    more = 1 + 500 * max(0.0, lift - 0.03)  # what is worth more costs more
    edges = [
        _edge(a, b, shares, fates, more * rng.uniform(0.5, 1.5))
        for a in range(agents)
        for b in range(agents)
        if a != b
    ]
    events = {"not finite parameters": 2} if fates else {}
    return {"seed": number, "agents": records, "edges": edges, "events": events}


def _edge(
    sender: int, receiver: int, shares: tuple[str, ...], fates: Record, times: float
) -> Record:
    kinds = [kind for kind in _FLOATS if kind.partition(".")[0] in shares]
    floats = {kind: int(_FLOATS[kind] * times) for kind in kinds}
    size = {kind: 4 * sent + 64 for kind, sent in floats.items()}
    edge = {"from": sender, "to": receiver, "floats": floats, "bytes": size}
    return edge | {"fates": _FATES | fates if shares else {}}


def _write_lines(run: RunDirectory, name: str, variant: Record, rng: random.Random) -> None:
    """Accuracy rises towards its end within each task, and falls where the next one begins."""
    seeds = variant["seeds"]
    tasks = len(seeds[0]["agents"][0]["tasks"])
    speed = 0.12 if "modules" in variant["shares"] else 0.05
    for task in range(tasks):
        for epoch in range(0, 101, 10):
            grown = 1 - math.exp(-speed * epoch)
            current = [
                [0.5 + (a["tasks"][task] - 0.5) * grown for a in seed["agents"]] for seed in seeds
            ]
            accuracy = [
                [
                    (sum(a["tasks"][:task]) + now) / (task + 1) + rng.gauss(0, 0.002)
                    for a, now in zip(seed["agents"], row, strict=True)
                ]
                for seed, row in zip(seeds, current, strict=True)
            ]
            line = {"step": task * 100 + epoch, "variant": name, "task": task, "epoch": epoch}
            line |= {"accuracy": accuracy, "current": current}
            sent = [round(variant["floats"] * (task + epoch / 100) / tasks) for _ in seeds]
            run.append(line | {"floats": sent, "bytes": [4 * each for each in sent]}, {})


def _pair(values: Sequence[float]) -> Record:
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": fmean(values), "standard_error": error}


def _fits(variants: Record) -> list[Record]:
    fits = []
    for learner, shares in (("modular", "modules"), ("modular", "parameters")):
        own = [name for name, each in variants.items() if each["shares"] == [shares]]
        own = [name for name in own if variants[name]["learner"] == learner]
        if len(own) < 2:
            continue
        costs = [variants[name]["cost"] for name in own]
        gains = [variants[name]["gain"]["mean"] for name in own]
        slope, intercept = gain_per_log_cost(costs, gains)
        fit = {"learner": learner, "shares": shares, "variants": own, "slope": slope}
        fit |= {"intercept": intercept}
        fits.append(fit | {"value_of_information": value_of_information(costs, gains)})
    return fits
