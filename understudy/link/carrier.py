"""What crosses the edges of a graph: metered, bounded by bandwidth, sometimes late or lost.

A message is a list of parcels, the most wanted first. What does not fit an edge in one round is
trimmed where the message allows it, else it waits and crosses piece by piece in later rounds.
Every message has an outcome, which is counted. Its sender learns it, unless the message got lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from torch import Tensor

from understudy.link.graph import Graph, Pair
from understudy.link.meter import Account, Meter
from understudy.types import Cost

_STATE = (
    "astray",
    "_waiting",
    "_arriving",
    "_outcomes",
)  # all else is as it was begun with

Fate = Literal["arrives", "trimmed", "waits", "superseded", "lost", "no edge"]


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """Arrays that travel together. `floats` is what the paper counts of it, by its cost model;
    its bytes are those of all its arrays, labels and counts included."""

    arrays: Mapping[str, Tensor]
    floats: int

    @property
    def bytes(self) -> int:
        return sum(array.numel() * array.element_size() for array in self.arrays.values())


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    sender: int
    receiver: int
    kind: str  # as "query", "data", "parameters", "module": also the line of the bill
    parcels: tuple[Parcel, ...]
    round: int  # in which it was sent
    trims: bool = False  # whether a part of it is worth having

    @property
    def floats(self) -> int:
        return sum(parcel.floats for parcel in self.parcels)

    @property
    def bytes(self) -> int:
        return sum(parcel.bytes for parcel in self.parcels)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message, for its sender."""

    receiver: int
    kind: str
    round: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class Inbox:
    """What an agent finds at the beginning of its step."""

    messages: tuple[Message, ...] = ()
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What has crossed one edge, or several: a view of their accounts.

    floats, bytes: by kind of message; fates: how the messages fared.
    """

    floats: Counter[str]
    bytes: Counter[str]
    fates: Counter[str]

    @classmethod
    def of(cls, accounts: Iterable[Account]) -> Traffic:
        floats: Counter[str] = Counter()
        carried: Counter[str] = Counter()
        fates: Counter[str] = Counter()
        for account in accounts:
            for kind, cost in account.by_kind.items():
                floats[kind] += cost.floats
                carried[kind] += cost.bytes
            fates.update(account.events)
        return cls(floats, carried, fates)

    def account(self) -> Account:
        """An account with these figures, to go on with."""
        by_kind = {
            kind: Cost(floats=floats, bytes=self.bytes[kind])
            for kind, floats in self.floats.items()
        }
        return Account(sum(by_kind.values(), Cost()), by_kind, Counter(self.fates))


@dataclass(slots=True)
class _Waiting:
    """A message on its way across; `left` floats of it have still to cross."""

    message: Message
    left: int
    since: int  # the round in which it was taken

    @property
    def untouched(self) -> bool:
        return self.left == self.message.floats


class Carrier:
    """Carries the messages of a graph, round by round. The same seed loses the same messages."""

    def __init__(self, graph: Graph, seed: int = 0) -> None:
        self.graph = graph
        self.seed = seed
        self.meter = Meter()
        self.astray = 0  # messages to an agent to which no edge leads
        self._waiting: dict[Pair, list[_Waiting]] = {pair: [] for pair in graph.edges}
        self._arriving: list[tuple[int, Message]] = []  # (round in which it is there, message)
        self._outcomes: dict[int, list[Outcome]] = {}

    def carry(self, round_: int, messages: Iterable[Message]) -> None:
        """Take what agents send in this round, and move every open edge's load."""
        for message in messages:
            pair = (message.sender, message.receiver)
            if pair not in self.graph.edges:
                self.astray += 1
                self._note(message, "no edge")
                continue
            self._supersede(pair, message, round_)
            self._waiting[pair].append(_Waiting(message, message.floats, round_))
        for pair, edge in self.graph.edges.items():
            if edge.opens(round_) and self._waiting[pair]:
                self._cross(pair, edge.bandwidth, round_)

    def deliver(self, round_: int, agents: Collection[int] | None = None) -> dict[int, Inbox]:
        """What has arrived by this round for each of these agents (None: all), in the order of
        its senders; for the others it is kept."""
        wanted = range(self.graph.size) if agents is None else agents
        there: dict[int, list[Message]] = {agent: [] for agent in wanted}
        kept = []
        for due, message in self._arriving:
            if due <= round_ and message.receiver in there:
                there[message.receiver].append(message)
            else:
                kept.append((due, message))
        self._arriving = kept
        return {
            agent: Inbox(
                tuple(sorted(messages, key=lambda message: (message.sender, message.round))),
                tuple(self._outcomes.pop(agent, ())),
            )
            for agent, messages in there.items()
        }

    def state(self) -> dict[str, Any]:
        return {"traffic": self.traffic} | {name: getattr(self, name) for name in _STATE}

    def restore(self, state: Mapping[str, Any]) -> None:
        for pair, traffic in state["traffic"].items():
            self.meter.accounts[pair] = traffic.account()
        for name in _STATE:
            setattr(self, name, state[name])

    def under_way(self) -> Counter[Pair]:
        """Messages that wait or are on their way, by edge."""
        found = Counter({pair: len(queue) for pair, queue in self._waiting.items()})
        found.update((message.sender, message.receiver) for _, message in self._arriving)
        return found

    @property
    def traffic(self) -> dict[Pair, Traffic]:
        """What has crossed each edge so far."""
        return {pair: Traffic.of([self.meter.account(pair)]) for pair in self.graph.edges}

    def totals(self) -> Traffic:
        """All edges together, without kinds of which nothing was counted."""
        found = Traffic.of([self.meter.account(pair) for pair in self.graph.edges])
        return Traffic(+found.floats, +found.bytes, +found.fates)

    def _supersede(self, pair: Pair, newer: Message, round_: int) -> None:
        """A message of the same kind that has waited since an earlier round, and of which nothing
        has crossed yet, gives way to a newer one."""
        kept = []
        for waiting in self._waiting[pair]:
            old = waiting.untouched and waiting.since < round_
            if old and waiting.message.kind == newer.kind:
                self._note(waiting.message, "superseded")
            else:
                kept.append(waiting)
        self._waiting[pair] = kept

    def _cross(self, pair: Pair, bandwidth: float, round_: int) -> None:
        """First come, first served, until this round's bandwidth is used up."""
        queue, self._waiting[pair] = self._waiting[pair], []
        room = sum(waiting.left for waiting in queue)
        room = int(min(room, bandwidth))
        for waiting in queue:
            if waiting.message.trims and waiting.untouched and waiting.left > room:
                waiting = self._trimmed(waiting, room)
                if waiting.left > room and waiting.message.parcels[0].floats <= bandwidth:
                    self._note(waiting.message, "waits")  # for a round with room for a parcel
                    self._waiting[pair].append(waiting)
                    continue
            crossing = min(waiting.left, room)
            room -= crossing
            self._charge(pair, waiting, crossing)
            waiting.left -= crossing
            if waiting.left > 0:
                self._note(waiting.message, "waits")
                self._waiting[pair].append(waiting)
            elif self._lost(pair):
                # Its sender does not learn it: on a real link nobody would.
                self.meter.note(pair, "lost")
            else:
                due = round_ + 1 + self.graph.edges[pair].latency
                self._arriving.append((due, waiting.message))
                self._note(waiting.message, "arrives")

    def _trimmed(self, waiting: _Waiting, room: int) -> _Waiting:
        """The leading parcels that fit; where not one does, the message as it was."""
        kept, used = [], 0
        for parcel in waiting.message.parcels:
            if used + parcel.floats > room:
                break
            kept.append(parcel)
            used += parcel.floats
        if not kept:
            return waiting
        self._note(waiting.message, "trimmed")
        return _Waiting(replace(waiting.message, parcels=tuple(kept)), used, waiting.since)

    def _charge(self, pair: Pair, waiting: _Waiting, floats: int) -> None:
        """Bytes cross in proportion to floats; over all pieces they add up to the message's."""
        message = waiting.message
        whole, crossed = message.floats, message.floats - waiting.left
        before = message.bytes * crossed // whole if whole else 0
        after = message.bytes * (crossed + floats) // whole if whole else message.bytes
        self.meter.charge(pair, message.kind, Cost(floats=floats, bytes=after - before))

    def _lost(self, pair: Pair) -> bool:
        """Drawn for each message by how many went before it on this edge."""
        loss = self.graph.edges[pair].loss
        if not loss:
            return False
        fates = self.meter.account(pair).events
        settled = fates["arrives"] + fates["lost"]
        random = np.random.default_rng([self.seed, *pair, settled])
        return bool(random.random() < loss)

    def _note(self, message: Message, fate: Fate) -> None:
        pair = (message.sender, message.receiver)
        if pair in self.graph.edges:
            self.meter.note(pair, fate)
        outcome = Outcome(message.receiver, message.kind, message.round, fate)
        self._outcomes.setdefault(message.sender, []).append(outcome)
