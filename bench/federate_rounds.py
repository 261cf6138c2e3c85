"""Client-rounds per second: clients trained as one, one by one, by a plain loop, and over Flower.

    python bench/federate.py rounds
    python bench/federate.py rounds --method small_alone --clients 10 30 100
    python bench/federate.py rounds --flower path/to/python

A client-round is one client's training of one round: the same optimiser steps on as many samples
for all sides, with nothing sent, and nothing examined but at the end; the mean final accuracy
stands beside, for learning that is faster and worse is not faster. The plain loop is
bench/plain_clients.py. What understudy computes once before it trains (cached activations) is
counted as its training. Seconds are wall-clock; the processor's own stand beside them, which other
work on the machine disturbs less. Every measurement has a process of its own, whose peak of memory
beyond what it had before the clients were made is divided by the clients.

With --flower and the Python of an environment that has Flower (docs/flower.md) the same clients
also learn on two nodes of Flower's deployment runtime, all on this machine, from the moment at
which all nodes are there.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from flower_side import run_over_flower
from plain_clients import Frozen, PlainClient, run_plain

from understudy.actors.crew import together
from understudy.actors.loop import run
from understudy.environment import environment
from understudy.federate.clock import moments_of
from understudy.federate.population import Federation, carriers_of
from understudy.federate.settings import FederateConfig
from understudy.files import write_json
from understudy.settings import check_settings

OUT = Path(__file__).parent / "results" / "federate_rounds.json"
SIDES = ["as one", "one by one", "plain"]


def settings_of(options: argparse.Namespace, clients: int, joined: int) -> dict[str, Any]:
    method: dict[str, Any] = {"kind": options.method}
    if options.method == "fed_lscl":
        method |= {"blocks": options.blocks, "buffer": 16}
    held = min(2 * options.tasks, 10)
    per_class = options.per_class * clients * held // 10 + 60
    return {
        "data": "generated",
        "data_options": {"classes": 10, "per_class": per_class, "size": options.size},
        "partition": {
            "private": 0,
            "shared": 10,
            "held_shared": held,
            "concentration": 100.0,
            "train_per_class": options.per_class,
            "test_per_class": 10,
        },
        "foundation": {
            "name": options.foundation,
            "random": not options.trained,
            "depth": options.depth,
            "size": options.pixels,
        },
        "small": options.small,
        "small_options": {"width": options.width},
        "feature_width": options.width,
        "clients": clients,
        "tasks": options.tasks,
        "classes_per_task": 2,
        "method": method,
        "server": "none",
        "rounds": options.rounds,
        "cache": options.method == "fed_lscl" and joined > 0,
        "local": {
            "epochs": options.epochs,
            "batch": options.batch,
            "together": max(1, joined),
        },
    }


def config_of(options: argparse.Namespace, clients: int, joined: int) -> FederateConfig:
    return check_settings(FederateConfig, settings_of(options, clients, joined))


def loaded(config: FederateConfig) -> Federation:
    """With its data and its foundation."""
    factory = Federation(config)
    factory.data_of(1)
    assert factory.foundation.blocks
    return factory


def ours(config: FederateConfig) -> dict[str, float]:
    factory = loaded(config)
    memory = pages()
    started, own = time.perf_counter(), time.process_time()
    crew = together(factory)
    prepared = time.perf_counter() - started
    moments = [m for m in moments_of(config) if act_of(m) == "train"]
    ends = [m for m in moments_of(config) if act_of(m) == "examine"]
    seconds, used = prepared, time.process_time() - own
    for task in range(config.tasks):
        some = moments[task * config.rounds : (task + 1) * config.rounds]
        started, own = time.perf_counter(), time.process_time()
        run(crew, carriers_of(config), some)
        seconds += time.perf_counter() - started
        used += time.process_time() - own
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        run(crew, carriers_of(config), ends[task : task + 1])
    clients: list[Any] = list(crew.populations[0][1:])
    return {
        "seconds": seconds,
        "of them preparing": prepared,
        "processor_seconds": used,
        "accuracy": mean(mean(each.log[-1].accuracy) for each in clients),
        "megabytes per client": (most - memory) / config.clients,
    }


def plain(config: FederateConfig) -> dict[str, float]:
    factory = loaded(config)
    memory = pages()
    clients: list[Any] = [factory.actor(0, n) for n in range(1, config.clients + 1)]
    frozen = None
    if config.method.tuned:
        settings: Any = config.method
        frozen = Frozen(factory.foundation, settings.blocks, settings.alpha / settings.rank)
    nets = [PlainClient(client.method, frozen) for client in clients]
    torch.manual_seed(0)
    started, own = time.perf_counter(), time.process_time()
    run_plain(nets, config.tasks, config.rounds)
    seconds, own = time.perf_counter() - started, time.process_time() - own
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": seconds,
        "processor_seconds": own,
        "accuracy": mean(net.accuracy() for net in nets),
        "megabytes per client": (most - memory) / config.clients,
    }


def pages() -> float:
    """Megabytes of this process."""
    found = int(Path("/proc/self/statm").read_text().split()[1])
    return found * resource.getpagesize() / 2**20


def act_of(moment: Any) -> str:
    return str(next(turn.act for row in moment for turn in row if turn is not None))


def over_flower(options: argparse.Namespace, clients: int) -> dict[str, float]:
    settings = settings_of(options, clients, 1) | {"recipe": "federate"}
    result = run_over_flower(options.flower, settings)
    found = [client["accuracy"] for client in result["seeds"][0]["clients"]]
    return {"seconds": result["seconds"], "accuracy": mean(found)}


def alone(options: argparse.Namespace, side: str, clients: int) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    if side == "flower":
        found = over_flower(options, clients)
    else:
        words = [sys.executable, *sys.argv, "--one", side, "--clients", str(clients)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
    rounds = clients * options.tasks * options.rounds
    return {"clients": clients, "client-rounds per second": rounds / found["seconds"]} | found


def one(options: argparse.Namespace) -> dict[str, float]:
    clients = options.clients[0]
    if options.one == "plain":
        return plain(config_of(options, clients, 0))
    return ours(config_of(options, clients, options.joined if options.one == "as one" else 1))


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="federate.py rounds", description=__doc__.split("\n")[0])
    parser.add_argument("--method", default="fed_lscl", choices=["fed_lscl", "small_alone"])
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--joined", type=int, default=16, help="clients that are computed as one")
    parser.add_argument("--small", default="residual")
    parser.add_argument("--width", type=int, default=32, help="of the small network")
    parser.add_argument("--size", type=int, default=8, help="side of the clients' pictures")
    parser.add_argument("--foundation", default="vit", help="a name or a folder")
    parser.add_argument("--trained", action="store_true", help="its weights, not random ones")
    parser.add_argument("--depth", type=int, help="blocks of it that are computed")
    parser.add_argument("--pixels", type=int, help="side of the pictures that it reads")
    parser.add_argument("--blocks", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--per-class", type=int, default=12, help="samples of a class and task")
    parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    parser.add_argument("--flower", help="a Python that has Flower; measured beside the others")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: list[str]) -> None:
    options = parsed(words)
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(one(options)))
        return
    sides = [*options.sides, *(["flower"] if options.flower else [])]
    shape = f"{options.method}, {options.small} of {options.width}, {options.size} pixels"
    shape += f", batch {options.batch}"
    if options.method == "fed_lscl":
        shape += f", {options.foundation} of {options.depth or 'all'} blocks"
        shape += f" at {options.pixels or 'its'} pixels"
    record = json.loads(options.out.read_text()) if options.out.exists() else {"results": {}}
    found: dict[str, list[Any]] = {}
    record["results"][shape] = {
        "environment": environment(),
        "command": shlex.join(["python", *sys.argv]),
        "sides": found,
    }
    for clients in options.clients:
        for side in sides:
            found.setdefault(side, []).append(alone(options, side, clients))
            write_json(options.out, record)  # what is measured is not lost
        rates = {side: found[side][-1]["client-rounds per second"] for side in sides}
        print(clients, {side: round(rate, 2) for side, rate in rates.items()})
        if "plain" in rates:
            print(f"as one: {rates[sides[0]] / rates['plain']:.1f} times the plain loop")


if __name__ == "__main__":
    main(sys.argv[1:])
