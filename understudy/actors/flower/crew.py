"""A crew whose actors are on nodes that may be late, away, or wrong: the run goes on without them.

every moment
    ask every node that is there, once, with what has come for its actors
    take the steps of the actors that are pinned to the relay itself
    take the answers that come in time; drop and note what is late, unreadable or not its own
    what an actor missed it is asked for again, at the next moment
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.actors.actor import Actor, Address
from understudy.actors.crew import Inboxes, Moment, by_population
from understudy.actors.factory import Factory, parts_of
from understudy.actors.flower.exchange import Asked, Taken, answer_of, written
from understudy.actors.jobs import run_steps
from understudy.actors.packing import PackingError
from understudy.errors import RunError
from understudy.link.carrier import Inbox, Message

_LOOK_AGAIN = 1.0  # seconds between looks for nodes
_ANSWERED = 2**31  # tries: no more
_TRIES = 3  # to learn, in the middle of a run, what a new node holds


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    node: int
    answer: bytes | None  # None: the node has failed
    late: bool  # to an earlier request


class Transport(Protocol):
    """What carries requests to nodes, and answers back."""

    def nodes(self) -> Iterable[int]:
        """Those that are there at present."""
        ...

    def partitions(self, nodes: Sequence[int], seconds: float) -> Mapping[int, tuple[int, int]]:
        """(partition, partitions) of each of these nodes that says so in time."""
        ...

    def exchange(self, requests: Mapping[int, bytes], seconds: float) -> Iterable[NodeAnswer]:
        """What comes, until all of these requests are answered or the time is up."""
        ...


class FlowerCrew:
    """seconds: for a node to answer; patience: for all nodes to be there in the beginning;
    pinned: the node's partition, or HERE for the relay, of actors that have a place."""

    def __init__(
        self,
        factory: Factory,
        transport: Transport,
        partitions: int,
        seconds: float,
        patience: float,
        pinned: Mapping[Address, int] | None = None,
    ) -> None:
        self.factory, self.transport, self.seconds = factory, transport, seconds
        self.partitions = partitions
        self.relay_bytes: Counter[str] = Counter()  # "to nodes", "from nodes"
        self.events: Counter[tuple[int, str]] = Counter()  # (partition, what went wrong)
        self._addresses, here = parts_of(factory.sizes, partitions, pinned)
        self._here: dict[Address, Actor] = dict(zip(here, factory.make(here), strict=True))
        self._node: dict[int, int] = {}  # by partition
        self._tries: Counter[int] = Counter()  # by node, to learn what it holds
        self._last_answered = [-1] * partitions  # moments
        self._owed: dict[Address, list[tuple[int, Any]]] = {
            address: [] for row in self._addresses for address in row
        }
        self._logs: list[list[list[Any]]] = [[[] for _ in range(size)] for size in factory.sizes]
        self._reports = [
            [factory.first_report((population, number)) for number in range(size)]
            for population, size in enumerate(factory.sizes)
        ]
        for address, actor in self._here.items():
            self._note(address, actor.log, actor.report())
        self._now = -1
        self._meet(patience)

    def step(self, moment: Moment, inboxes: Inboxes) -> list[list[Message]]:
        self._now += 1
        there = self._find()
        requests: dict[int, bytes] = {}
        for partition, addresses in enumerate(self._addresses):
            ticks = {(p, n): moment[p][n] for p, n in addresses if moment[p][n] is not None}
            for address, tick in ticks.items():
                self._owed[address].append((self._now, tick))
            if not ticks:
                continue
            if partition not in there:
                self.events[partition, "away"] += 1
                continue
            request = self._request(partition, inboxes)
            requests[there[partition]] = request
            self.relay_bytes["to nodes"] += len(request)
        outboxes = self._step_here(moment, inboxes)
        partitions = {node: partition for partition, node in there.items()}
        waiting = {partitions[node] for node in requests}
        for found in self.transport.exchange(requests, self.seconds):
            partition = partitions.get(found.node, -1)
            if not found.late:
                waiting.discard(partition)
            for address, outbox, entries, report in self._accepted(partition, found):
                outboxes[address] = outbox
                self._note(address, entries, report)
        for partition in waiting:
            self.events[partition, "no answer in time"] += 1
        return by_population(outboxes, len(self._logs))

    def _step_here(self, moment: Moment, inboxes: Inboxes) -> dict[Address, list[Message]]:
        """The steps of the relay's own actors."""
        ticks = {(p, n): moment[p][n] for p, n in self._here if moment[p][n] is not None}
        known = {address: len(self._here[address].log) for address in ticks}
        steps = [self._here[p, n].step(tick, inboxes[p][n]) for (p, n), tick in ticks.items()]
        outboxes = dict(zip(ticks, run_steps(steps), strict=True))
        for address in ticks:
            actor = self._here[address]
            self._note(address, actor.log[known[address] :], actor.report())
        return outboxes

    def _note(self, address: Address, entries: Sequence[Any], report: Any) -> None:
        self._logs[address[0]][address[1]] += entries
        self._reports[address[0]][address[1]] = report

    def logs(self) -> list[list[list[Any]]]:
        return self._logs

    def reports(self) -> list[list[Any]]:
        """The last of each; what went wrong with its node is in `events_of`."""
        return self._reports

    def events_of(self, address: Address) -> dict[str, int]:
        """What went wrong with the node of an actor, and how often."""
        return {
            what: count
            for (partition, what), count in sorted(self.events.items())
            if partition >= 0 and address in self._addresses[partition]
        }

    def states(self) -> list[list[dict[str, Any]]]:
        raise RunError("the states of actors over Flower stay with their nodes")

    def restore(self, states: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        raise RunError("the states of actors over Flower stay with their nodes; begin a new run")

    def close(self) -> None: ...

    # Which nodes are there

    def _meet(self, patience: float) -> None:
        end = time.monotonic() + patience
        while len(there := self._find()) < self.partitions:
            if time.monotonic() > end:
                raise RunError(
                    f"{len(there)} of {self.partitions} nodes are there after {patience:.0f} s; "
                    "start those that are missing, or set a longer wait"
                )
            time.sleep(_LOOK_AGAIN)

    def _find(self) -> dict[int, int]:
        """Nodes by partition. One that comes later with the same partition takes its place."""
        present = list(self.transport.nodes())
        most = _TRIES if self._now >= 0 else _ANSWERED
        new = [node for node in present if self._tries[node] < most]
        if new:
            self._tries.update(new)
            for node, (partition, count) in self.transport.partitions(new, self.seconds).items():
                self._tries[node] = _ANSWERED
                if count != self.partitions or not 0 <= partition < self.partitions:
                    self.events[-1, f"partition {partition} of {count}"] += 1
                    continue
                if partition in self._node:
                    self.events[partition, "another node took its place"] += 1
                self._node[partition] = node
        return {p: node for p, node in self._node.items() if node in present}

    # What crosses

    def _request(self, partition: int, inboxes: Inboxes) -> bytes:
        """For every actor that has a tick, or has missed one before."""
        asked: list[Asked] = []
        for p, n in self._addresses[partition]:
            owed = self._owed[p, n]
            if owed:
                inbox = inboxes[p].get(n, Inbox())
                asked.append(((p, n), owed, inbox, len(self._logs[p][n])))
        return written((self._now, self._last_answered[partition], asked))

    def _accepted(self, partition: int, found: NodeAnswer) -> list[Taken]:
        """The answer to this moment's request, if it is one."""
        if found.answer is not None:
            self.relay_bytes["from nodes"] += len(found.answer)
        what, taken = self._read(partition, found)
        if what:
            self.events[partition, what] += 1
            return []
        self._last_answered[partition] = self._now
        for address in self._addresses[partition]:
            self._owed[address] = []
        return [self._own(partition, each) for each in taken]

    def _read(self, partition: int, found: NodeAnswer) -> tuple[str, list[Taken]]:
        """What is wrong with an answer (empty: nothing), and what it says."""
        if partition < 0:
            return "answer of a node that was replaced", []
        if found.late:
            return "late answer", []
        if found.answer is None:
            return "failed", []
        try:
            moment, reason, taken = answer_of(
                found.answer, self.factory.entry_type, self.factory.report_type
            )
        except PackingError:
            return "unreadable answer", []
        if reason:
            return f"refused: {reason}", []
        return self._wrong(partition, moment, taken), taken

    def _wrong(self, partition: int, moment: int, taken: Sequence[Taken]) -> str:
        if moment != self._now:
            return "answer of another moment"
        asked = [address for address in self._addresses[partition] if self._owed[address]]
        if [address for address, *_ in taken] != asked:
            return "answer for other actors"
        faults = (self.factory.fault(who, entries, report) for who, _, entries, report in taken)
        return next(filter(None, faults), "")

    def _own(self, partition: int, taken: Taken) -> Taken:
        """Only messages that an actor may send: in its own name, to another, of a kind in use."""
        address, outbox, entries, report = taken
        kept = [message for message in outbox if self._fair(address, message)]
        if len(kept) < len(outbox):
            self.events[partition, "message not its own"] += len(outbox) - len(kept)
        return address, kept, entries, report

    def _fair(self, address: Address, message: Message) -> bool:
        kinds = self.factory.kinds
        return (
            message.sender == address[1]
            and message.receiver in range(self.factory.sizes[address[0]])
            and (kinds is None or message.kind.partition(".")[0] in kinds)
            and len(message.parcels) > 0
        )
