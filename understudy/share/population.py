"""Everything that a run of agents begins with, from its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from understudy.link.carrier import Carrier
from understudy.link.graph import Edge, Graph, make_graph
from understudy.models.stacked import NetShape
from understudy.share.agent import Agent, Mode, Place
from understudy.share.engine import run
from understudy.share.learner import INITIAL_TASKS, new_learner
from understudy.share.modes.data import Data
from understudy.share.modes.modules import Modules
from understudy.share.modes.parameters import Parameters
from understudy.share.settings import ShareConfig
from understudy.share.wishes import Tick
from understudy.tasks.holdings import AGENT_SEED, Dealing, Instances, deal


def graph_of(config: ShareConfig, seed: int) -> Graph:
    told = config.graph
    bandwidth = float("inf") if told.bandwidth is None else float(told.bandwidth)
    edge = Edge(bandwidth, told.every, told.latency, told.loss)
    return make_graph(told.topology, config.agents, edge, told.drop, seed)


def shape_of(config: ShareConfig, data: Instances) -> NetShape:
    return NetShape(
        config.net,
        tuple(data.x.shape[1:]),
        config.tasks,
        config.classes_per_task,
        config.learner == "modular",
        width=config.width,
        dropout=config.dropout,
    )


def populations_of(config: ShareConfig, data: Instances) -> list[tuple[list[Agent], Carrier]]:
    """One population for each seed. Where weights or modules are shared, its agents begin with
    those of one that learnt the first tasks and takes no part."""
    populations = []
    for seed in config.seeds:
        graph = graph_of(config, seed)
        populations.append((agents_of(config, data, graph, seed), Carrier(graph, seed)))
    if config.share_parameters.mode != "none" or config.share_modules.mode != "none":
        bases = [base_of(config, data, seed) for seed in config.seeds]
        tasks = bases[0].config.tasks
        apart = [([base], Carrier(Graph(1, {}))) for base in bases]
        run(apart, [tick for tick in clock(config, []) if tick.task < tasks])
        for base, (agents, _) in zip(bases, populations, strict=True):
            for agent in agents:
                agent.begin_as(base.learner)
    return populations


def base_of(config: ShareConfig, data: Instances, seed: int) -> Agent:
    """An agent beyond the last, which learns as many tasks as a modular learner begins with."""
    tasks = deal(data, dealing_of(config), config.agents + 1, seed)[-1]
    few = config.model_copy(update={"tasks": min(INITIAL_TASKS, config.tasks)})
    place = Place(0, seed + AGENT_SEED * config.agents, seed, ())
    learner = new_learner(shape_of(few, data), seed)
    return Agent(place, few, tasks[: few.tasks], learner, [])


def dealing_of(config: ShareConfig) -> Dealing:
    return Dealing(
        config.tasks,
        config.classes_per_task,
        config.train_per_class,
        config.validation_per_class,
        config.disjoint,
    )


def agents_of(config: ShareConfig, data: Instances, graph: Graph, seed: int) -> list[Agent]:
    """The population of one seed. All its agents begin with the same weights."""
    tasks = deal(data, dealing_of(config), config.agents, seed)
    shape = shape_of(config, data)
    return [
        Agent(
            Place(number, seed + AGENT_SEED * number, seed, tuple(graph.out_of(number))),
            config,
            tasks[number],
            new_learner(shape, seed),
            modes_of(config),
        )
        for number in range(config.agents)
    ]


def modes_of(config: ShareConfig) -> list[Mode]:
    """New ones for each agent: they remember what came."""
    modes: list[Mode] = []
    if config.share_data.mode != "none":
        modes.append(Data(config.share_data))
    if config.share_parameters.mode != "none":
        modes.append(Parameters(config.share_parameters))
    if config.share_modules.mode != "none":
        modes.append(Modules(config.share_modules))
    return modes


def clock(config: ShareConfig, modes: Sequence[Mode]) -> list[Tick]:
    """Every tick of a run: rounds at the epochs at which any mode may open or accuracy is taken."""
    periods = [config.evaluate_every]
    if config.share_data.mode != "none":
        periods.append(config.share_data.every)
    if config.share_parameters.mode != "none":
        periods.append(config.share_parameters.every)
    starts = [e for e in range(config.epochs) if any(e % period == 0 for period in periods)]
    spans = list(zip(starts, [*starts[1:], config.epochs], strict=True))
    ticks: list[Tick] = []
    for round_, (task, (epoch, end)) in enumerate(product(range(config.tasks), spans)):
        opening = Tick(task, epoch, 0, 0, round_)
        exchanges = max((mode.exchanges for mode in modes if mode.opens(opening)), default=1)
        ticks += [replace(opening, exchange=exchange) for exchange in range(exchanges)]
        ticks[-1] = replace(ticks[-1], train=end - epoch)
    return ticks
