"""Everything that a run of agents begins with, from its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.actors.actor import Address
from understudy.actors.crew import Together
from understudy.actors.factory import Factory
from understudy.actors.loop import run
from understudy.errors import ConfigError
from understudy.link.carrier import Carrier
from understudy.link.graph import Edge, Graph, make_graph, unequal
from understudy.share.agent import Agent, Identity, Mode, Point, Report
from understudy.share.clock import clock
from understudy.share.learner import new_learner
from understudy.share.modes import MODES
from understudy.share.nets.own import load_own
from understudy.share.nets.stacked import LAYERS, NetShape
from understudy.share.partition import Partition, Partitioner
from understudy.share.privacy import check_norms
from understudy.share.settings import BUILT_IN, ShareConfig
from understudy.share.tick import AGENT_SEED
from understudy.tasks.instance_sets import load_instances
from understudy.tasks.instances import Instances


class Agents(Factory):
    """The agents of a run, one population for each seed.

    data: the instances, if they are loaded already; without it, the process that makes agents loads
    them. loaded: sets that this process has loaded, by what names them.
    """

    entry_type = Point
    report_type = Report

    def __init__(
        self,
        config: ShareConfig,
        data: Instances | None = None,
        loaded: dict[str, Instances] | None = None,
    ) -> None:
        self.config, self._data = config, data
        self._loaded = {} if loaded is None else loaded
        self.sizes = [config.agents] * len(config.seeds)
        self.kinds = {mode.kind for mode in modes_of(config)}
        self._graphs: dict[int, Graph] = {}  # by population
        self._shapes: dict[str, NetShape] = {}  # by net
        self._partitioners: dict[int, Partitioner] = {}  # by population

    def __reduce__(self) -> tuple[Any, ...]:
        """Small: a process that gets it makes its own agents and loads their data."""
        return _agents, (self.config.model_dump(), self._data)

    def actor(self, population: int, number: int) -> Agent:
        """One agent, before anything is learnt. All of a population begin with the same modules."""
        config, seed = self.config, self.config.seeds[population]
        if population not in self._graphs:
            self._graphs[population] = graph_of(config, seed)
        neighbours = tuple(self._graphs[population].out_of(number))
        own = seed + AGENT_SEED * number
        return Agent(
            Identity(number, own, seed, neighbours),
            config,
            self._partitioner(population, number).tasks(number, config.agents),
            new_learner(self._shape(number), seed, own),
            modes_of(config),
        )

    def begin(self, actors: Sequence[Any]) -> None:
        begin_in_common(actors)

    def first_report(self, address: Address) -> Report:
        return Report([float("nan")] * self.config.tasks, 0, {})

    def fault(self, address: Address, entries: Sequence[Any], report: Any) -> str:
        tasks = self.config.tasks
        sizes = [len(accuracy) for _, _, accuracy in entries] + [len(report.accuracy)]
        if set(sizes) != {tasks} or not all(0 <= point[0] < tasks for point in entries):
            return "accuracies of another shape"
        return ""

    def check(self) -> None:
        """Refuse what no population can begin with."""
        graph_of(self.config, self.config.seeds[0])
        for number in range(
            self.config.agents if self._data is None and self.config.own_data else 1
        ):
            data = self.data_of(number)
            check_norms(self.config.privacy, data.x)
            Partitioner(data, partition_of(self.config), self.config.seeds[0])
        self._check_shapes()

    def data_of(self, number: int) -> Instances:
        """The instances that an agent's tasks are taken from."""
        if self._data is not None:
            return self._data
        config = self.config
        if self._data is None and self.config.own_data:
            options = _with_number(config.data_options, number)
            return load_instances(_with_number(config.data, number), options)
        source = f"{config.data} {config.data_options}"
        if source not in self._loaded:
            self._loaded[source] = load_instances(config.data, config.data_options)
        return self._loaded[source]

    def _check_shapes(self) -> None:
        """Weights and modules are of use to agents with the same shapes alone."""
        shapes = [self._shape(number).module for number in range(self.config.agents)]
        if len(shapes) == 1 or any(shapes.count(shape) > 1 for shape in shapes):
            return
        for name, setting in self.config.sections().items():
            if setting.shares_weights:
                raise ConfigError(
                    f"net={self.config.net}: no two agents have modules of one shape, so nobody "
                    f"can use the {name} of another; give two agents one net, or share instances"
                )

    def _partitioner(self, population: int, number: int) -> Partitioner:
        partition, seed = partition_of(self.config), self.config.seeds[population]
        if self._data is None and self.config.own_data:
            return Partitioner(self.data_of(number), partition, seed)
        if population not in self._partitioners:
            data, common = self.data_of(number), self.config.tasks_in_common
            self._partitioners[population] = Partitioner(data, partition, seed, common)
        return self._partitioners[population]

    def _shape(self, number: int) -> NetShape:
        net = self.config.nets[number % len(self.config.nets)]
        if net not in self._shapes:
            self._shapes[net] = shape_of(self.config, self.data_of(number), net)
        return self._shapes[net]


def _agents(settings: Mapping[str, Any], data: Instances | None) -> Agents:
    return Agents(ShareConfig.model_validate(settings), data)


def _with_number(value: Any, number: int) -> Any:
    """The settings of an agent's own data."""
    if isinstance(value, dict):
        return {key: _with_number(each, number) for key, each in value.items()}
    return value.replace("{agent}", str(number)) if isinstance(value, str) else value


def graph_of(config: ShareConfig, seed: int) -> Graph:
    setting = config.graph
    bandwidth = float("inf") if setting.bandwidth is None else float(setting.bandwidth)
    edge = Edge(bandwidth, setting.every, setting.latency, setting.loss)
    graph = make_graph(setting.topology, config.agents, edge, setting.drop, seed)
    return unequal(graph, setting.bandwidth_spread, setting.latency_spread, seed)


def shape_of(config: ShareConfig, data: Instances, net: str) -> NetShape:
    own = None if net in BUILT_IN else load_own(net, config.net_options, data.x)
    return NetShape(
        net if own is None else "own",
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
    factory = Agents(config, data)
    return [[factory.actor(p, n) for n in range(size)] for p, size in enumerate(factory.sizes)]


def carriers_of(config: ShareConfig) -> list[Carrier]:
    return [Carrier(graph_of(config, seed), seed) for seed in config.seeds]


def begin_in_common(agents: Sequence[Agent]) -> None:
    """Where agents have their first tasks in common, all of one population and net begin as one
    that has learnt these."""
    if not agents or not agents[0].config.tasks_in_common:
        return
    config = agents[0].config
    alike: dict[tuple[int, NetShape], list[Agent]] = {}
    for agent in agents:
        alike.setdefault((agent.identity.common, agent.shape), []).append(agent)
    bases = [base_of(group[0]) for group in alike.values()]
    ticks = clock(config, [], range(config.tasks_in_common))
    moments = [[[tick]] * len(bases) for tick in ticks]
    run(Together([[base] for base in bases]), [Carrier(Graph(1, {})) for _ in bases], moments)
    for base, group in zip(bases, alike.values(), strict=True):
        for agent in group:
            agent.begin_as(base)


def base_of(one: Agent) -> Agent:
    """An agent beyond the last, which takes no part once it has learnt the first tasks of one."""
    common, own = one.identity.common, one.identity.common + AGENT_SEED * one.config.agents
    learner = new_learner(one.shape, common, own)
    return Agent(Identity(0, own, common, ()), one.config, one.tasks, learner, [])


def partition_of(config: ShareConfig) -> Partition:
    return Partition(
        config.tasks,
        config.classes_per_task,
        config.train_per_class,
        config.validation_per_class,
        config.disjoint,
    )


def modes_of(config: ShareConfig) -> list[Mode]:
    """New ones for each agent: they remember what came."""
    modes: list[Mode] = [MODES.make(name, setting) for name, setting in config.sections().items()]
    kinds = [mode.kind for mode in modes]
    for kind in kinds:
        if kinds.count(kind) > 1 or "." in kind:
            raise ConfigError(
                f"modes: {kinds} are the kinds of their messages; they must differ, without dots"
            )
    return modes
