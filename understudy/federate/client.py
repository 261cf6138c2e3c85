"""One client: it learns its tasks one after the other, and never shows a sample.

step(turn, inbox):
    take what the server sent, if it is sound
    train:    begin the task if it is new; train; send what the method uploads
    examine:  test on all tasks; after a task's last round, end it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from typing import Any

from understudy.actors.jobs import Job, Step
from understudy.federate.crossing import About, message, read
from understudy.federate.entries import ActorReport, ClientEntry
from understudy.federate.guarding import GuardedWeights
from understudy.federate.jobs import Examine, Train
from understudy.federate.lesson import Lesson
from understudy.federate.methods.method import Method
from understudy.federate.servers import SERVERS
from understudy.federate.turn import SERVER, Turn
from understudy.link.carrier import Inbox, Message


class Client:
    def __init__(self, method: Method, small: str = "") -> None:
        self.method, self.small = method, small
        self.number, self.config = method.own.number, method.common.config
        self.downloads = type(method).downloads(method.common)
        self.sends: bool = SERVERS.load(self.config.serving.kind).takes
        self.guarded = GuardedWeights(self.config.privacy, method)
        self.log: list[ClientEntry] = []
        self.events: Counter[str] = Counter()

    def step(self, turn: Turn, inbox: Inbox) -> Step:
        for each in inbox.messages:
            self._take(each)
        if turn.act == "train":
            return (yield from self._train(turn))
        yield from self._examine(turn)
        return []

    def _take(self, given: Message) -> None:
        reason, about, arrays = read(given, self.downloads, self.config.trust.largest)
        if not reason and about is not None and about.client != self.number:
            reason = "for another client"
        if reason:
            self.events[f"{given.kind}: {reason}"] += 1
        else:
            self.method.receive(given.kind, arrays)
            self.guarded.took(given.kind, arrays)

    def _train(self, turn: Turn) -> Generator[Job, Any, list[Message]]:
        self._start(turn.task)
        lesson = Lesson(turn.task, turn.round, self.method.own.seed, self.config.local)
        terms = yield Train(self.method, lesson)
        self.log.append(ClientEntry("train", turn.task, turn.round, terms, []))
        if not self.sends:
            return []
        samples = len(self.method.own.tasks[turn.task].train)
        about = About(self.number, turn.round, samples)
        kinds = self.guarded.leaving(self.method.upload(turn.round), turn.round)
        return [message(self.number, SERVER, kind, each, about) for kind, each in kinds.items()]

    def _examine(self, turn: Turn) -> Generator[Job, Any, None]:
        if turn.act == "examine":
            self._start(turn.task)
        accuracy = yield Examine(self.method)
        self.log.append(ClientEntry(turn.act, turn.task, turn.round, {}, accuracy, turn.last))
        if turn.last:
            self.method.end(self.method.own.tasks[turn.task])

    def _start(self, task: int) -> None:
        """Begin a task that is new; one in which the client never took part begins too."""
        if task != self.method.current:
            self.method.start(self.method.own.tasks[task])

    def state(self) -> dict[str, Any]:
        return {
            "method": self.method.state(),
            "known": self.guarded.known,
            "log": self.log,
            "events": self.events,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.method.restore(state["method"])
        self.guarded.known = state.get("known", {})
        self.log, self.events = state["log"], state["events"]

    def report(self) -> ActorReport:
        tasks = self.method.own.tasks
        return ActorReport(
            dict(sorted(self.events.items())),
            [list(task.classes) for task in tasks],
            [len(task.train) for task in tasks],
            [len(task.test) for task in tasks],
            self.small,
            sum(each.numel() for each in self.method.modules.parameters()),
        )
