r"""Agents that learn: agent-epochs per second, beside a plain loop; and what each of many costs.

    python bench/share.py
    python bench/share.py --learner monolithic
    python bench/share.py --agents 10 100 1000 --seeds 1 --sides together --topology ring \
        --tasks 5 --epochs 2

Eight agents with the learner and tasks of arXiv:2405.17466 (generated instances, nothing shared,
nothing examined but at the end), as understudy trains them: those of all seeds together; and as a
plain PyTorch loop trains them: one after the other, one seed, which takes it the same time for
each. All sides do the same optimiser steps on as many examples with as much dropout; the mean
final accuracy stands beside, for learning that is faster and worse is not faster. Seconds are
wall-clock; the processor's own stand beside them, which other work on the machine disturbs less.
The plain loop keeps every module that it trains, an agent only those that help. An agent-epoch is
one of a lesson: tasks that are learnt jointly are one lesson.

With --flower and the Python of an environment that has Flower (docs/flower.md) the agents of one
seed also learn on two nodes of Flower's deployment runtime, all on this machine.

With --topology agents also average their weights, and the peak of memory is told.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from flower_side import run_over_flower
from plain_agents import accuracy_of, run_plain

from understudy.actors.crew import Together
from understudy.actors.loop import run
from understudy.environment import environment
from understudy.files import write_json
from understudy.share.clock import moments_of
from understudy.share.population import carriers_of, populations_of
from understudy.share.settings import ShareConfig
from understudy.tasks.instances import generated_instances

OUT = Path(__file__).parent / "results" / "share.json"
SIDES = ["together", "one seed", "plain"]


def config_of(options: argparse.Namespace, agents: int, seeds: int) -> ShareConfig:
    shared: dict[str, Any] = {}
    if options.topology:
        shared = {
            "graph": {"topology": options.topology},
            "share_parameters": {"mode": "fedavg", "every": 1},
            "common_start": "never",
        }
    return ShareConfig(
        agents=agents,
        tasks=options.tasks,
        epochs=options.epochs,
        learner=options.learner,
        evaluate_every=options.epochs,
        seeds=list(range(seeds)),
        **shared,
    )


def together(config: ShareConfig) -> Callable[[], float]:
    """Everything is dealt out before the clock starts."""
    populations = populations_of(config, generated_instances(per_class=320))
    carriers, moments = carriers_of(config), moments_of(config)

    def work() -> float:
        run(Together(populations), carriers, moments)
        accuracy = torch.stack([agent.accuracy for agents in populations for agent in agents])
        return float(accuracy.nanmean())

    return work


def plain(config: ShareConfig) -> Callable[[], float]:
    (agents,) = populations_of(config, generated_instances(per_class=320))

    def work() -> float:
        torch.manual_seed(0)
        nets = run_plain(agents, config.epochs)
        return sum(map(accuracy_of, nets, agents)) / len(agents)

    return work


def measured(config: ShareConfig, make: Callable[[ShareConfig], Callable[[], float]]) -> Any:
    work = make(config)
    wall, own = time.perf_counter(), time.process_time()
    accuracy = work()
    wall, own = time.perf_counter() - wall, time.process_time() - own
    epochs = config.agents * len(config.seeds) * _epochs(config)
    return {
        "agents": config.agents,
        "seeds": len(config.seeds),
        "seconds": wall,
        "processor_seconds": own,
        "agent_epochs_per_second": epochs / wall,
        "agent_epochs_per_processor_second": epochs / own,
        "accuracy": accuracy,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _epochs(config: ShareConfig) -> int:
    """In which an agent learns something."""
    return (config.tasks - config.tasks_jointly + 1) * config.epochs


def over_flower(options: argparse.Namespace, agents: int) -> Any:
    """From the moment at which all nodes are there."""
    config = config_of(options, agents, seeds=1)
    settings = config.model_dump(mode="json") | {"data_options": {"per_class": 320}}
    result = run_over_flower(options.flower, settings)
    return {
        "agents": agents,
        "seeds": 1,
        "seconds": result["seconds"],
        "agent_epochs_per_second": agents * _epochs(config) / result["seconds"],
        "accuracy": mean(agent["accuracy"] for agent in result["seeds"][0]["agents"]),
    }


def alone(options: argparse.Namespace, side: str, agents: int, seeds: int) -> Any:
    """One measurement in a process of its own: its memory is nobody else's."""
    if side == "flower":
        return over_flower(options, agents)
    words = [sys.executable, __file__, "--one", side, "--agents", str(agents), "--seeds"]
    words += [str(seeds), "--tasks", str(options.tasks), "--epochs", str(options.epochs)]
    words += ["--learner", options.learner, "--topology", options.topology]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[8])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learner", default="modular", choices=["modular", "monolithic"])
    parser.add_argument("--topology", default="", help="share weights over such a graph")
    parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    parser.add_argument("--flower", help="a Python that has Flower; measured beside the others")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        seeds = options.seeds if options.one == "together" else 1
        make = plain if options.one == "plain" else together
        print(json.dumps(measured(config_of(options, options.agents[0], seeds), make)))
        return
    key = f"{options.learner}{', ' + options.topology if options.topology else ''}"
    record = json.loads(options.out.read_text()) if options.out.exists() else {"results": {}}
    sides = [*options.sides, *(["flower"] if options.flower else [])]
    found: dict[str, list[Any]] = {}
    record["results"][key] = {
        "environment": environment(),
        "command": shlex.join(["python", *sys.argv]),
        "tasks": options.tasks,
        "epochs": options.epochs,
        "sides": found,
    }
    for agents in options.agents:
        for side in sides:
            found.setdefault(side, []).append(alone(options, side, agents, options.seeds))
            write_json(options.out, record)  # what is measured is not lost
    print(json.dumps(record["results"][key], indent=2))


if __name__ == "__main__":
    main()
