"""What one-by-one distillation costs the server, by the number of clients, and what it is worth.

    python bench/federate.py server
    python bench/federate.py server --clients 5 10 --accuracy 0
    python bench/federate.py server --clients 5 --accuracy 12 --teachers 2 4 8

The curve: seconds of a round for students as they are computed here, with all teachers and with
those of the default, beside the plain loop over students, teachers and steps. Some steps are
measured and multiplied by the steps of a round; of the loop, some students too, since each costs
the same.

The accuracy: a federation of so many clients, as often as there are numbers of teachers, all else
equal: mean accuracy over clients, and the server's seconds beside the clients'.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import torch

from understudy.actors.crew import together
from understudy.actors.loop import run
from understudy.environment import environment
from understudy.federate.clock import moments_of
from understudy.federate.foundations.loading import load_foundation
from understudy.federate.losses import matrix_distance
from understudy.federate.methods.fed_lscl import first_generator
from understudy.federate.methods.method import Common
from understudy.federate.population import Federation, carriers_of
from understudy.federate.servers.distillation import Distil, distilled
from understudy.federate.settings import FederateConfig
from understudy.federate.summary import federation_result
from understudy.files import write_json
from understudy.settings import check_settings

OUT = Path(__file__).parent / "results" / "federate_server.json"
DEFAULT = "default"


def config_of(options: argparse.Namespace, **settings: Any) -> FederateConfig:
    shape = {"name": options.foundation, "random": options.random, "depth": options.depth}
    return check_settings(FederateConfig, {"foundation": shape} | settings)


def job_of(options: argparse.Namespace, clients: int, server: dict[str, Any]) -> Distil:
    """Generators as different as after some training, each with a set of features."""
    config = config_of(options, classes=10, server={"kind": "o2d", **server})
    common = Common(config, load_foundation(config.foundation), 10, 0)
    torch.manual_seed(0)
    first = first_generator(common).state_dict()
    models = [
        {name: each + 0.02 * torch.randn_like(each) for name, each in first.items()}
        for _ in range(clients)
    ]
    features = [torch.randn(options.features, config.feature_width) for _ in range(clients)]
    return Distil(common, config.serving, models, features, 0)


def batched(options: argparse.Namespace, clients: int, teachers: Any) -> dict[str, float]:
    """Seconds of a round: the steps measured, and what a round does once."""

    def seconds(steps: int) -> float:
        server = {"steps": steps} | ({} if teachers == DEFAULT else {"teachers": teachers})
        job = job_of(options, clients, server)
        started = time.perf_counter()
        distilled(job)
        return time.perf_counter() - started

    once, some = seconds(0), seconds(options.measured)
    whole = once + (some - once) / options.measured * steps_of(options)
    return {"seconds": whole, "steps measured": options.measured}


def steps_of(options: argparse.Namespace) -> int:
    serving: Any = config_of(options, classes=10).serving
    return int(serving.steps)


def loop(options: argparse.Namespace, clients: int) -> dict[str, float]:
    """A module and an optimiser for a student; its teachers one after the other."""
    job = job_of(options, clients, {})
    networks = [first_generator(job.common) for _ in range(clients)]
    for network, weights in zip(networks, job.generators, strict=True):
        network.load_state_dict(dict(weights))
    student = first_generator(job.common)
    student.load_state_dict(dict(job.generators[0]))
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-3)
    started = time.perf_counter()
    for _ in range(options.measured):
        loss = torch.zeros(())
        for number in range(1, clients):
            rows = job.features[number][torch.randperm(options.features)[: job.settings.batch]]
            with torch.no_grad():
                wanted = networks[number](rows)
            loss = loss + matrix_distance(student(rows), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    one = (time.perf_counter() - started) / options.measured
    return {"seconds": one * steps_of(options) * clients, "steps measured": options.measured}


def curve(options: argparse.Namespace) -> dict[str, Any]:
    """By the number of clients."""
    found: dict[str, Any] = {}
    for clients in options.clients:
        sides = {"loop": loop(options, clients), "all teachers": batched(options, clients, None)}
        sides["default"] = batched(options, clients, DEFAULT)
        found[str(clients)] = sides
        print(clients, {name: round(side["seconds"], 2) for name, side in sides.items()})
    return found


def accuracy(options: argparse.Namespace, teachers: int | None) -> dict[str, Any]:
    """One federation of digits, with so many teachers in a step."""
    config = config_of(
        options,
        data="digits",
        clients=options.accuracy,
        tasks=2,
        classes_per_task=2,
        partition={
            "private": 0, "shared": 10, "held_shared": 4,
            "train_per_class": 24, "test_per_class": 25,
        },
        small_options={"width": 32},
        feature_width=32,
        method={"kind": "fed_lscl", "blocks": [1, 2], "buffer": 16},
        server={"kind": "o2d", "steps": options.steps, "teachers": teachers},
        rounds=2,
        local={"epochs": options.epochs, "batch": 16},
        cache=True,
        seeds=options.seeds,
    )  # fmt: skip
    factory = Federation(config)
    crew, carriers, moments = together(factory), carriers_of(config), moments_of(config)
    spent = {"train": 0.0, "serve": 0.0, "examine": 0.0, "begin": 0.0}
    last = time.perf_counter()

    def watch(now: int) -> None:
        nonlocal last
        act = next(turn.act for row in moments[now] for turn in row if turn is not None)
        spent[act] += time.perf_counter() - last
        last = time.perf_counter()

    run(crew, carriers, moments, watch)
    rows = zip(config.seeds, crew.reports(), crew.logs(), carriers, strict=True)
    results = [federation_result(config, *row) for row in rows]
    clients = [each.accuracy for result in results for each in result.clients]
    rounds = config.tasks * config.rounds * len(config.seeds)
    return {
        "teachers": teachers,
        "accuracy": sum(each or 0.0 for each in clients) / len(clients),
        "by client": clients,
        "distance after": [result.figures.get("distance after") for result in results],
        "server seconds per round": spent["serve"] / rounds,
        "clients' seconds per round": spent["train"] / rounds,
    }


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="federate.py server", description=__doc__.split("\n")[0])
    parser.add_argument("--foundation", default="vit", help="a name or a folder")
    parser.add_argument("--random", action="store_true", help="its shape with random weights")
    parser.add_argument("--depth", type=int, help="blocks of it that are computed")
    parser.add_argument("--clients", type=int, nargs="*", default=[5, 10, 30, 100])
    parser.add_argument("--features", type=int, default=100, help="of each client")
    parser.add_argument("--measured", type=int, default=4, help="steps that are measured")
    parser.add_argument("--accuracy", type=int, default=10, help="clients of it; 0: none")
    parser.add_argument("--teachers", type=int, nargs="*", default=[2, 4], help="beside all")
    parser.add_argument("--steps", type=int, default=20, help="of the server, for the accuracy")
    parser.add_argument("--epochs", type=int, default=2, help="of a client in a round")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "environment": environment(),
        "command": shlex.join(["python", *sys.argv]),
        "steps of a round": steps_of(options),
    }
    found["curve"] = curve(options)
    found["accuracy"] = []
    if options.accuracy:
        for teachers in [None, *options.teachers]:
            found["accuracy"].append(accuracy(options, teachers))
            kept = {k: v for k, v in found["accuracy"][-1].items() if k != "by client"}
            print(json.dumps(kept))
    write_json(options.out, found)
