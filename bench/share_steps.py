"""Agents that learn: how long one optimiser step of one agent takes, beside a plain loop.

    python bench/share_steps.py

The learners and tasks of arXiv:2405.17466 (generated instances). understudy trains two seeds of
eight agents as one, the plain loop of plain_agents.py one agent after the other; both take turns
within one process, and the seconds between the ends of neighbouring steps are kept. A step's time
is the lower quartile of all: what the machine takes away from one step and not from its
neighbours, as much as half of all time and more where machines are shared, stays out of it.
bench/share.py times whole runs instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

sys.path.insert(0, str(Path(__file__).parent))
from plain_agents import PlainNet, _assimilate, _train

from understudy.environment import environment
from understudy.files import write_json
from understudy.share.agent import Agent, _together
from understudy.share.learner import INITIAL_TASKS, add_candidate
from understudy.share.population import populations_of
from understudy.share.settings import ShareConfig
from understudy.share.training import Examples, Lesson, Training, Weights, train
from understudy.tasks.instances import generated_instances

OUT = Path(__file__).parent / "results" / "share_steps.json"
EPOCHS = 4  # in a row, by either side
CASES: dict[str, tuple[str, Lesson, int]] = {  # learner, lesson, tasks that it learns from
    "monolithic, one task": ("monolithic", "whole", 1),
    "monolithic, five tasks": ("monolithic", "whole", 5),
    "modular, first four tasks": ("modular", "whole", INITIAL_TASKS),
    "modular, a later task": ("modular", "assimilate", 1),
}


class Clock:
    """Seconds between the ends of neighbouring steps."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.seconds: list[float] = []

    def tick(self) -> None:
        self.ends.append(time.perf_counter())

    @contextmanager
    def running(self) -> Iterator[None]:
        self.ends.clear()
        yield
        self.seconds.extend(np.diff(self.ends))


def together(agents: list[Agent], examples: list[Examples], lesson: Lesson, clock: Clock) -> None:
    def tick(weights: Weights) -> torch.Tensor:
        clock.tick()  # once in every step
        return torch.zeros(len(agents))

    train(
        [
            Training(agent.learner, each, lesson, range(EPOCHS), (number,))
            for number, (agent, each) in enumerate(zip(agents, examples, strict=True))
        ],
        tick,
    )


def plain(agent: Agent, parts: list[Examples], lesson: Lesson) -> None:
    net = PlainNet(agent.shape.tasks, agent.shape.classes, agent.shape.modular)
    if lesson == "assimilate":
        net.add_module_for(int(parts[0].task[0]))
        _assimilate(net, parts[0], EPOCHS)
    else:
        _train(net, parts, EPOCHS, [*net.modules_.parameters(), *net.decoders.parameters()])


def measured(case: str, rounds: int) -> dict[str, Any]:
    learner, lesson, tasks = CASES[case]
    config = ShareConfig(agents=8, tasks=6, epochs=2, learner=learner, seeds=[0, 1])
    populations = populations_of(config, generated_instances(per_class=320))
    agents = [agent for population in populations for agent in population]
    first = INITIAL_TASKS if lesson == "assimilate" else 0
    parts = [
        [agent._examples(task, task.train) for task in agent.tasks[first : first + tasks]]
        for agent in agents
    ]
    examples = [_together(each) for each in parts]
    if lesson == "assimilate":
        for agent in agents:
            add_candidate(agent.learner, first, agent.seed)
    ours, theirs = Clock(), Clock()
    for number in range(rounds):
        with ours.running():
            together(agents, examples, lesson, ours)
        hook = register_optimizer_step_post_hook(lambda *_: theirs.tick())
        for one in range(number % 4, len(agents), 4):
            with theirs.running():
                plain(agents[one], parts[one], lesson)
        hook.remove()
    found = {
        "understudy": _microseconds(ours.seconds, 1 / len(agents)),
        "plain loop": _microseconds(theirs.seconds),
    }
    ratio = found["plain loop"]["lower quartile"] / found["understudy"]["lower quartile"]
    return found | {"ratio": ratio}


def _microseconds(seconds: list[float], share: float = 1.0) -> dict[str, float]:
    """Of one agent's step."""
    each = np.array(seconds) * share * 1e6
    figures: dict[str, Callable[[], float]] = {
        "fastest": each.min,
        "lower quartile": lambda: np.quantile(each, 0.25),
        "median": lambda: np.quantile(each, 0.5),
        "mean": each.mean,
    }
    return {"steps": len(each)} | {name: round(float(of()), 1) for name, of in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    record = {"environment": environment(), "command": "python bench/share_steps.py"}
    record["cases"] = {case: measured(case, options.rounds) for case in CASES}
    write_json(options.out, record)
    print(json.dumps(record["cases"], indent=2))


if __name__ == "__main__":
    main()
