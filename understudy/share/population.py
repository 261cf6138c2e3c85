"""Everything that a run of agents begins with, from its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from understudy.link.carrier import Carrier
from understudy.link.graph import Edge, Graph, make_graph, unequal
from understudy.share.agent import Agent, Mode, Place
from understudy.share.crew import Moment, Together
from understudy.share.generators import generator_of
from understudy.share.learner import new_learner
from understudy.share.loop import run
from understudy.share.modes.data import Data
from understudy.share.modes.modules import Modules
from understudy.share.modes.parameters import Parameters
from understudy.share.nets.own import load_own
from understudy.share.nets.stacked import LAYERS, NetShape
from understudy.share.partition import AGENT_SEED, Instances, Partition, partitioned
from understudy.share.privacy import check_norms
from understudy.share.settings import BUILT_IN, ShareConfig
from understudy.share.wishes import Tick

_PACE = 40  # what a draw is for


def graph_of(config: ShareConfig, seed: int) -> Graph:
    told = config.graph
    bandwidth = float("inf") if told.bandwidth is None else float(told.bandwidth)
    edge = Edge(bandwidth, told.every, told.latency, told.loss)
    graph = make_graph(told.topology, config.agents, edge, told.drop, seed)
    return unequal(graph, told.bandwidth_spread, told.latency_spread, seed)


def shape_of(config: ShareConfig, data: Instances) -> NetShape:
    own = None if config.net in BUILT_IN else load_own(config.net, config.net_options, data.x)
    return NetShape(
        config.net if own is None else "own",
        tuple(data.x.shape[1:]),
        config.tasks,
        config.classes_per_task,
        config.learner == "modular",
        LAYERS if own is None else own.net.layers,
        config.width,
        config.dropout,
        own,
    )


def populations_of(config: ShareConfig, data: Instances) -> list[list[Agent]]:
    """One population for each seed, before anything is learnt."""
    return [agents_of(config, data, graph_of(config, seed), seed) for seed in config.seeds]


def carriers_of(config: ShareConfig) -> list[Carrier]:
    return [Carrier(graph_of(config, seed), seed) for seed in config.seeds]


def begin_alike(config: ShareConfig, populations: Sequence[Sequence[Agent]]) -> None:
    """Where agents have their first tasks in common, they begin as one that has learnt these."""
    if not config.tasks_in_common:
        return
    there = [agents for agents in populations if agents]  # a machine apart may hold none of one
    bases = [base_of(agents[0]) for agents in there]
    ticks = clock(config, [], range(config.tasks_in_common))
    moments = [[[tick]] * len(bases) for tick in ticks]
    run(Together([[base] for base in bases]), [Carrier(Graph(1, {})) for _ in bases], moments)
    for base, agents in zip(bases, there, strict=True):
        for agent in agents:
            agent.begin_as(base)


def base_of(one: Agent) -> Agent:
    """An agent beyond the last, which takes no part once it has learnt the first tasks of one."""
    common, own = one.place.common, one.place.common + AGENT_SEED * one.config.agents
    learner = new_learner(one.shape, common, own)
    return Agent(Place(0, own, common, ()), one.config, one.tasks, learner, [])


def check_partition(config: ShareConfig, data: Instances) -> None:
    """Refuse what no population can begin with."""
    check_norms(config.privacy, data.x)
    graph_of(config, config.seeds[0])
    shape_of(config, data)
    partitioned(data, partition_of(config), 1, config.seeds[0])


def partition_of(config: ShareConfig) -> Partition:
    return Partition(
        config.tasks,
        config.classes_per_task,
        config.train_per_class,
        config.validation_per_class,
        config.disjoint,
    )


def agents_of(config: ShareConfig, data: Instances, graph: Graph, seed: int) -> list[Agent]:
    """The population of one seed. All its agents begin with the same modules."""
    tasks = partitioned(data, partition_of(config), config.agents, seed, config.tasks_in_common)
    shape = shape_of(config, data)
    return [
        Agent(
            Place(number, seed + AGENT_SEED * number, seed, tuple(graph.out_of(number))),
            config,
            tasks[number],
            new_learner(shape, seed, seed + AGENT_SEED * number),
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


def clock(
    config: ShareConfig, modes: Sequence[Mode], tasks: Sequence[int] | None = None
) -> list[Tick]:
    """Every tick of these tasks, by themselves all that agents do not have in common: rounds at the
    epochs at which any mode may open or accuracy is taken."""
    if tasks is None:
        tasks = range(config.tasks_in_common, config.tasks)
    periods = [config.evaluate_every]
    if config.share_data.mode != "none":
        periods.append(config.share_data.every)
    if config.share_parameters.mode != "none":
        periods.append(config.share_parameters.every)
    starts = [e for e in range(config.epochs) if any(e % period == 0 for period in periods)]
    spans = list(zip(starts, [*starts[1:], config.epochs], strict=True))
    ticks: list[Tick] = []
    for round_, (task, (epoch, end)) in enumerate(product(tasks, spans)):
        opening = Tick(task, epoch, 0, 0, round_)
        exchanges = max((mode.exchanges for mode in modes if mode.opens(opening)), default=1)
        ticks += [replace(opening, exchange=exchange) for exchange in range(exchanges)]
        ticks[-1] = replace(ticks[-1], train=end - epoch)
    return ticks


def moments_of(config: ShareConfig) -> list[Moment]:
    """What every agent does at every moment. In step: all the same. At paces of their own: an
    agent's rounds take it up to `slowest` times as long, and who has ended still answers."""
    ticks = clock(config, modes_of(config))
    if config.slowest == 1:
        return [[[tick] * config.agents] * len(config.seeds) for tick in ticks]
    paces = [
        [_pace(config, seed + AGENT_SEED * number) for number in range(config.agents)]
        for seed in config.seeds
    ]
    length = max(int(pace * (len(ticks) - 1)) for row in paces for pace in row) + 1
    tracks = [[_track(ticks, pace, length) for pace in row] for row in paces]
    return [[[track[now] for track in row] for row in tracks] for now in range(length)]


def _pace(config: ShareConfig, seed: int) -> float:
    return 1 + (config.slowest - 1) * float(generator_of(seed, _PACE).random())


def _track(ticks: Sequence[Tick], pace: float, length: int) -> list[Tick | None]:
    """One agent's ticks, each at its own moment; then it only listens."""
    ended = replace(ticks[-1], exchange=ticks[-1].exchange + 1, train=0)
    track: list[Tick | None] = [None] * length
    for number, tick in enumerate(ticks):
        track[int(pace * number)] = tick
    for now in range(int(pace * (len(ticks) - 1)) + 1, length):
        track[now] = ended
    return track
