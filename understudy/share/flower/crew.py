"""A crew whose agents are on nodes that may be late, away, or wrong: the run goes on without them.

every moment
    ask every node that is there, once, with what has come for its agents
    take the answers that come in time; drop and note what is late, unreadable or not its own
    what an agent missed it is asked for again, at the next moment
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from understudy.errors import ConfigError, RunError
from understudy.link.carrier import Inbox, Message
from understudy.share.agent import Point
from understudy.share.crew import Inboxes, Moment, Report
from understudy.share.flower.letters import Pair, Told, answer_of, pairs_of, written
from understudy.share.packing import PackingError
from understudy.share.population import modes_of
from understudy.share.settings import ShareConfig
from understudy.share.wishes import Tick

_LOOK_AGAIN = 1.0  # seconds between looks for nodes
_ANSWERED = 2**31  # tries: no more
_TRIES = 3  # to learn, in the middle of a run, what a new node holds


@dataclass(frozen=True, slots=True)
class Arrival:
    node: int
    answer: bytes | None  # None: the node has failed
    late: bool  # to an earlier letter


class Post(Protocol):
    """What carries letters to nodes and answers back."""

    def nodes(self) -> Iterable[int]:
        """Those that are there at present."""

    def partitions(self, nodes: Sequence[int], seconds: float) -> Mapping[int, tuple[int, int]]:
        """(partition, partitions) of each of these nodes that says so in time."""

    def exchange(self, letters: Mapping[int, bytes], seconds: float) -> Iterable[Arrival]:
        """What comes, until all of these letters are answered or the time is up."""


class FlowerCrew:
    """seconds: for a node to answer; patience: for all nodes to be there in the beginning."""

    def __init__(
        self, config: ShareConfig, post: Post, partitions: int, seconds: float, patience: float
    ) -> None:
        if config.messages.top is not None:
            raise ConfigError(
                f"messages.top={config.messages.top}: over Flower a node that was away would miss "
                "what later changes build on; leave it out"
            )
        self.config, self.post, self.seconds = config, post, seconds
        self.partitions = partitions
        self.relay_bytes: Counter[str] = Counter()  # "to nodes", "from nodes"
        self.events: Counter[tuple[int, str]] = Counter()  # (partition, what went wrong)
        self._kinds = {mode.kind for mode in modes_of(config)}
        self._pairs = [
            pairs_of(number, partitions, len(config.seeds), config.agents)
            for number in range(partitions)
        ]
        self._node: dict[int, int] = {}  # by partition
        self._tries: Counter[int] = Counter()  # by node, to learn what it holds
        self._heard = [-1] * partitions  # the last moment that was answered
        self._owed: dict[Pair, list[tuple[int, Tick]]] = {
            pair: [] for row in self._pairs for pair in row
        }
        shape = [range(config.agents) for _ in config.seeds]
        nothing = Report([math.nan] * config.tasks, 0, {})
        self._curves: list[list[list[Point]]] = [[[] for _ in row] for row in shape]
        self._reports = [[nothing for _ in row] for row in shape]
        self._now = -1
        self._meet(patience)

    def step(self, moment: Moment, inboxes: Inboxes) -> list[list[Message]]:
        self._now += 1
        there = self._find()
        letters: dict[int, bytes] = {}
        for partition, pairs in enumerate(self._pairs):
            ticking = [(p, a) for p, a in pairs if moment[p][a] is not None]
            for p, a in ticking:
                tick = moment[p][a]
                assert tick is not None
                self._owed[p, a].append((self._now, tick))
            if not ticking:
                continue
            if partition not in there:
                self.events[partition, "away"] += 1
                continue
            letter = self._letter(partition, inboxes)
            letters[there[partition]] = letter
            self.relay_bytes["to nodes"] += len(letter)
        found: dict[Pair, list[Message]] = {}
        partitions = {node: partition for partition, node in there.items()}
        waiting = {partitions[node] for node in letters}
        for arrival in self.post.exchange(letters, self.seconds):
            partition = partitions.get(arrival.node, -1)
            if not arrival.late:
                waiting.discard(partition)
            for pair, outbox, points, report in self._accepted(partition, arrival):
                found[pair] = outbox
                self._curves[pair[0]][pair[1]] += points
                self._reports[pair[0]][pair[1]] = report
        for partition in waiting:
            self.events[partition, "no answer in time"] += 1
        sent: list[list[Message]] = [[] for _ in self._curves]
        for (population, _), outbox in sorted(found.items(), key=lambda item: item[0]):
            sent[population] += outbox
        return sent

    def curves(self) -> list[list[list[Point]]]:
        return self._curves

    def reports(self) -> list[list[Report]]:
        """What went wrong with a node is said of each of its agents."""
        found = [list(row) for row in self._reports]
        for (partition, what), count in sorted(self.events.items()):
            for p, a in self._pairs[partition] if partition >= 0 else []:
                found[p][a] = replace(found[p][a], events=found[p][a].events | {what: count})
        return found

    def states(self) -> list[list[dict[str, Any]]]:
        raise RunError("the states of agents over Flower stay with their nodes")

    def restore(self, states: Sequence[Sequence[dict[str, Any]]]) -> None:
        raise RunError("the states of agents over Flower stay with their nodes; begin a new run")

    def close(self) -> None: ...

    # Who is there

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
        present = list(self.post.nodes())
        most = _TRIES if self._now >= 0 else _ANSWERED
        new = [node for node in present if self._tries[node] < most]
        if new:
            self._tries.update(new)
            for node, (partition, count) in self.post.partitions(new, self.seconds).items():
                self._tries[node] = _ANSWERED
                if count != self.partitions or not 0 <= partition < self.partitions:
                    self.events[-1, f"partition {partition} of {count}"] += 1
                    continue
                if partition in self._node:
                    self.events[partition, "another node took its place"] += 1
                self._node[partition] = node
        return {p: node for p, node in self._node.items() if node in present}

    # What crosses

    def _letter(self, partition: int, inboxes: Inboxes) -> bytes:
        """Who has no tick now, but missed one, is not asked: it catches up when it has one."""
        asked = []
        for p, a in self._pairs[partition]:
            owed = self._owed[p, a]
            if owed:
                inbox = inboxes[p].get(a, Inbox())
                asked.append(((p, a), owed, inbox, len(self._curves[p][a])))
        return written((self._now, self._heard[partition], asked))

    def _accepted(self, partition: int, arrival: Arrival) -> list[Told]:
        """The answer to this moment's letter, if it is one."""
        if arrival.answer is not None:
            self.relay_bytes["from nodes"] += len(arrival.answer)
        what, told = self._read(partition, arrival)
        if what:
            self.events[partition, what] += 1
            return []
        self._heard[partition] = self._now
        for pair in self._pairs[partition]:
            self._owed[pair] = []
        return [self._own(partition, each) for each in told]

    def _read(self, partition: int, arrival: Arrival) -> tuple[str, list[Told]]:
        """What is wrong with an answer (empty: nothing), and what it tells."""
        if partition < 0:
            return "answer of a node that was replaced", []
        if arrival.late:
            return "late answer", []
        if arrival.answer is None:
            return "failed", []
        try:
            moment, reason, told = answer_of(arrival.answer)
        except PackingError:
            return "unreadable answer", []
        if reason:
            return f"refused: {reason}", []
        return self._wrong(partition, moment, told), told

    def _wrong(self, partition: int, moment: int, told: Sequence[Told]) -> str:
        if moment != self._now:
            return "answer of another moment"
        asked = [pair for pair in self._pairs[partition] if self._owed[pair]]
        if [pair for pair, *_ in told] != asked:
            return "answer for other agents"
        tasks = self.config.tasks
        for _, _, points, report in told:
            sizes = [len(accuracy) for _, _, accuracy in points] + [len(report.accuracy)]
            if set(sizes) != {tasks} or not all(0 <= point[0] < tasks for point in points):
                return "accuracies of another shape"
        return ""

    def _own(self, partition: int, told: Told) -> Told:
        """Only messages that an agent may send: in its own name, to another, of a kind in use."""
        (population, agent), outbox, points, report = told
        kept = [message for message in outbox if self._fair(agent, message)]
        if len(kept) < len(outbox):
            self.events[partition, "message not its own"] += len(outbox) - len(kept)
        return (population, agent), kept, points, report

    def _fair(self, agent: int, message: Message) -> bool:
        return (
            message.sender == agent
            and message.receiver in range(self.config.agents)
            and message.kind.partition(".")[0] in self._kinds
            and len(message.parcels) > 0
        )
