"""Everything that a federation begins with, from its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch

from understudy.actors.actor import Actor, Address
from understudy.actors.factory import HERE, Factory
from understudy.errors import ConfigError
from understudy.federate.client import Client
from understudy.federate.client_tasks import ClientTask, Examples, PreparedTask, Samples
from understudy.federate.data import load_samples
from understudy.federate.division import Partition
from understudy.federate.entries import ActorReport, ClientEntry, Entry, ServerEntry
from understudy.federate.foundations.cached import cached_inputs
from understudy.federate.foundations.foundation import Foundation
from understudy.federate.foundations.loading import load_foundation
from understudy.federate.joint import LEARNER, with_everything, with_nothing
from understudy.federate.methods import METHODS
from understudy.federate.methods.method import Common, Method, Own
from understudy.federate.partition import Partitioner
from understudy.federate.samples import SampleSet, among
from understudy.federate.server import Server
from understudy.federate.servers import SERVERS
from understudy.federate.settings import FederateConfig
from understudy.federate.small.making import new_small
from understudy.federate.small.network import SmallNetwork
from understudy.federate.turn import CLIENT_SEED, SERVER
from understudy.link.carrier import Carrier
from understudy.link.graph import Edge, make_graph, unequal


class Federation(Factory):
    """Servers and clients of a run, one population for each seed; actor 0 is the server.

    data: the samples, if they are loaded already; without it, the process that makes clients loads
    theirs. loaded: sets and foundations that this process has loaded, by what names them.
    """

    entry_type = Entry
    report_type = ActorReport

    def __init__(
        self,
        config: FederateConfig,
        data: SampleSet | None = None,
        loaded: dict[str, Any] | None = None,
    ) -> None:
        self.config, self._data = config, data
        self._loaded = {} if loaded is None else loaded
        self.sizes = [1 + config.clients] * len(config.seeds)
        self._partitioners: dict[int, Partitioner] = {}  # by population

    def __reduce__(self) -> tuple[Any, ...]:
        """Small: a process that gets it makes its own actors and loads their data."""
        return _federation, (self.config.model_dump(), self._data)

    @cached_property
    def method(self) -> type[Method]:
        found: type[Method] = METHODS.load(self.config.method.kind)
        return found

    @cached_property
    def foundation(self) -> Foundation:
        name = f"foundation {self.config.foundation}"
        if name not in self._loaded:
            self._loaded[name] = load_foundation(self.config.foundation)
        found: Foundation = self._loaded[name]
        return found

    @property
    def servers(self) -> dict[Address, int]:
        """The servers, each in the process or relay of the crew itself."""
        return {(population, SERVER): HERE for population in range(len(self.sizes))}

    @cached_property
    def kinds(self) -> set[str]:  # type: ignore[override]
        common = self.common(self.config.seeds[0])
        return {*self.method.uploads(common), *self.method.downloads(common)}

    def common(self, seed: int) -> Common:
        small = partial(self._small, seed, 1) if self.method.Settings.small else None
        return Common(self.config, self.foundation, self.classes, seed, small)

    def _small_kind(self, number: int) -> str:
        return self.config.smalls[(number - 1) % len(self.config.smalls)]

    def _small(self, seed: int, number: int) -> SmallNetwork:
        """A client's small network, as it begins."""
        raw = self.data_of(number).of(torch.arange(2))
        return new_small(self._small_kind(number), self.config.small_options, raw, seed)

    @cached_property
    def classes(self) -> int:
        """Of the whole set. Where every client has data of its own nobody can count them."""
        if isinstance(self.config.classes, list):
            return len(self.config.classes)
        if self.config.classes is not None:
            return self.config.classes
        if self.config.own_data and self._data is None:
            raise ConfigError(
                "classes=null, but every client has data of its own, so nobody can count the "
                "classes of all; set classes to their names, or to their number"
            )
        return len(self.data_of(1).classes)

    def data_of(self, number: int) -> SampleSet:
        """The samples that a client's tasks are taken from."""
        if self._data is not None:
            return self._data
        spec, options = with_number((self.config.data, self.config.data_options), number)
        source = f"data {spec} {options}"
        if source not in self._loaded:
            self._loaded[source] = load_samples(spec, options)
        found: SampleSet = self._loaded[source]
        classes = self.config.classes
        if classes is not None and (self.config.own_data or isinstance(classes, list)):
            return among(found, classes, spec)
        if isinstance(classes, int) and len(found.classes) > classes:
            raise ConfigError(f"classes={classes}, but {spec} has {len(found.classes)}; raise it")
        return found

    def _tasks(self, population: int, number: int) -> Sequence[ClientTask]:
        seed, partition = self.config.seeds[population], partition_of(self.config)
        if self.config.own_data and self._data is None:
            needed = self.config.tasks * self.config.classes_per_task
            alone = replace(partition, clients=1, private=needed, shared=0, held_shared=None)
            return Partitioner(self.data_of(number), alone, seed).tasks(0)
        if population not in self._partitioners:
            self._partitioners[population] = Partitioner(self.data_of(number), partition, seed)
        return self._partitioners[population].tasks(number - 1)

    def actor(self, population: int, number: int) -> Actor:
        """A server or a client, before anything is learnt."""
        common = self.common(self.config.seeds[population])
        if number == SERVER:
            serving = self.config.serving
            aggregation = SERVERS.make(serving.kind, serving, self.method, common)
            return Server(self.method, aggregation, common)
        return self._client(population, number, common)

    def _client(self, population: int, number: int, common: Common) -> Client:
        own = common.seed + CLIENT_SEED * number
        small = None
        if self.method.Settings.small:
            small = partial(self._small, common.seed, number)
        prepare = None if small is None else small().prepare
        prepared = [self._prepared(task, prepare) for task in self._tasks(population, number)]
        if self.config.joint:
            prepared = self._jointly(population, number, prepared, prepare)
        method = self.method(self.config.method, common, Own(number, own, prepared, small))
        return Client(method, "" if small is None else self._small_kind(number))

    def _jointly(
        self, population: int, number: int, tasks: list[PreparedTask], prepare: Any
    ) -> list[PreparedTask]:
        if number != LEARNER:
            return with_nothing(tasks)
        others = range(LEARNER + 1, self.config.clients + 1)
        theirs = (task for other in others for task in self._tasks(population, other))
        return with_everything(
            tasks,
            [task.train for task in tasks]
            + [self._examples(each.train, prepare) for each in theirs],
        )

    def _prepared(self, task: ClientTask, prepare: Any) -> PreparedTask:
        train, test = (self._examples(part, prepare) for part in (task.train, task.test))
        return PreparedTask(task.number, task.classes, train, test)

    def _examples(self, samples: Samples, prepare: Any) -> Examples:
        tuned = self.config.method.tuned
        before = min(tuned) if self.config.cache and tuned else 0
        inputs = cached_inputs(self.foundation, samples.raw, before)
        small = {} if prepare is None else prepare(samples.raw)
        return Examples(inputs, small, samples.label)

    def check(self) -> None:
        """Refuse what no federation can begin with, before anything is written."""
        for block in self.config.method.tuned:
            self.foundation.target(block)
        self.method.check(self.common(self.config.seeds[0]))
        assert self.kinds is not None
        for number in range(1, self.config.clients + 1 if self.config.own_data else 2):
            self._tasks(0, number)

    def first_report(self, address: Address) -> ActorReport:
        tasks = self.config.tasks
        return ActorReport({}, [[]] * tasks, [0] * tasks, [0] * tasks)

    def fault(self, address: Address, entries: Sequence[Any], report: Any) -> str:
        tasks = self.config.tasks
        if address[1] == SERVER or any(isinstance(entry, ServerEntry) for entry in entries):
            return "entries of a server"
        found = [e for e in entries if isinstance(e, ClientEntry) and e.act != "train"]
        sizes = {len(entry.accuracy) for entry in found}
        sizes |= {len(report.classes), len(report.train), len(report.test)}
        return "" if sizes == {tasks} else "accuracies of another shape"


def _federation(settings: Mapping[str, Any], data: SampleSet | None) -> Federation:
    return Federation(FederateConfig.model_validate(settings), data)


def partition_of(config: FederateConfig) -> Partition:
    """How the set is divided, as the settings say it."""
    said = config.partition.model_dump()
    return Partition(config.clients, config.tasks, config.classes_per_task, **said)


def with_number(value: Any, number: int) -> Any:
    """Settings of a client's own data: {client} becomes its number."""
    if isinstance(value, dict):
        return {key: with_number(each, number) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(with_number(each, number) for each in value)
    return value.replace("{client}", str(number)) if isinstance(value, str) else value


def carriers_of(config: FederateConfig) -> list[Carrier]:
    """A star each: the server in the middle."""
    edge = Edge(latency=config.link.latency, loss=config.link.loss)
    star, spread = make_graph("star", 1 + config.clients, edge), config.link.latency_spread
    if not spread:
        return [Carrier(star, seed) for seed in config.seeds]
    return [Carrier(unequal(star, latency_spread=spread, seed=seed), seed) for seed in config.seeds]
