"""One agent: it learns its tasks one after the other, and sends and receives by its modes.

    step(tick, inbox):
        give every message to the mode it belongs to, which may answer
        on the first exchange of a round: begin the task if it is new; let modes that open send
        on the last exchange of a round: let modes settle what came; learn until the next round

The engine (understudy.actors) sees nothing else of it. What is to be computed it yields as jobs, so
that alike ones of many agents are computed together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from understudy.actors.generators import generator_of
from understudy.actors.jobs import Job, Step
from understudy.actors.records import registered
from understudy.errors import ConfigError
from understudy.link.carrier import Inbox, Message, Parcel
from understudy.share.codec import Codec
from understudy.share.jobs import Examine, Train
from understudy.share.learner import (
    Learner,
    add_candidate,
    drop_candidate,
    keep_candidate,
)
from understudy.share.leaving import Leaving
from understudy.share.modes import Schedule
from understudy.share.nets.stacked import NetShape, entrance
from understudy.share.partition import Task
from understudy.share.penalties import Penalty
from understudy.share.settings import ShareConfig
from understudy.share.tick import INITIAL_TASKS, Tick
from understudy.share.training import Examples, Lesson
from understudy.tasks.instances import Instances

_TRAINING, _REPLAY = 10, 11  # what a draw is for

Point = tuple[int, int, list[float]]  # an examination: task, epoch, accuracy of each task

# What it has become by the end of a round; all else it begins with.
_STATE = (
    *("learner", "penalty", "accuracy", "curve", "added", "events"),
    *("current", "replay", "received"),
)


class Mode:
    """A kind of sharing, with what one agent remembers for it: attributes of plain values, arrays
    and registered records.

    A mode declares its settings as `Settings`, which also say when its rounds are; see
    understudy.share.modes. Messages of its `kind`, or of kind.something, are its own.
    """

    Settings: ClassVar[type[Schedule]]
    kind: ClassVar[str]

    def __init__(self, setting: Any) -> None:
        self.setting = setting

    def begin(self, agent: Agent, tick: Tick) -> list[Message]:
        """What the agent sends as a round opens."""
        return []

    def receive(self, agent: Agent, message: Message, tick: Tick) -> list[Message]:
        """What it answers to a message of this mode."""
        return []

    def settle(self, agent: Agent, tick: Tick) -> Generator[Job, Any, None]:
        """On the last exchange of a round, before it trains: use what came."""
        yield from ()

    def leaving(self, config: ShareConfig) -> Iterator[Leaving]:
        """What may leave an agent by this mode."""
        yield Leaving(self.kind, "*", f"Messages of {self.kind}, which its mode does not describe.")


@registered
@dataclass(frozen=True, slots=True)
class Report:
    """What an agent says of itself in the end."""

    accuracy: list[float]  # of each task, when last examined
    modules: int
    events: dict[str, int]  # what was wrong with messages, and how often


@dataclass(frozen=True, slots=True)
class Identity:
    """An agent's number, its own seed, its population's seed (common), and its neighbours."""

    number: int
    seed: int
    common: int
    neighbours: tuple[int, ...]


class Agent:
    def __init__(
        self,
        identity: Identity,
        config: ShareConfig,
        tasks: Sequence[Task],
        learner: Learner,
        modes: Sequence[Mode],
    ) -> None:
        self.identity, self.config, self.tasks = identity, config, tasks
        self.learner, self.modes = learner, modes
        self.number, self.seed, self.neighbours = (
            identity.number,
            identity.seed,
            identity.neighbours,
        )
        self.codec = Codec(config, identity.seed)
        self.penalty: Penalty | None = None
        self.accuracy = torch.full((config.tasks,), torch.nan)  # when last examined
        self.curve: list[Point] = []
        self.added: dict[int, int] = {}  # the module that a task added
        self.events: Counter[tuple[str, str]] = Counter()  # (what was wrong, kind of message)
        self.current = -1
        self.replay: dict[int, Instances] = {}
        self.received: dict[int, Instances] = {}
        self._known: dict[int, set[str]] = {}  # instances that a task has, by digest
        self.examined = {task.number: self._examples(task, task.validation) for task in tasks}

    @property
    def shape(self) -> NetShape:
        return self.learner.shape

    def begin_as(self, other: Agent) -> None:
        """Begin where another stands, whose tasks so far are the first of its own too."""
        first, known, own = other.learner.first, other.current + 1, self.learner
        for kind, length in (("modules", first), ("decoders", known)):
            for name in own.named(kind):
                own.weights[name][:length] = other.learner.weights[name][:length]
        self.current, self.accuracy = other.current, other.accuracy.clone()
        self.curve, self.replay = [*other.curve], dict(other.replay)
        self._recall()

    @property
    def log(self) -> list[Point]:
        return self.curve

    def report(self) -> Report:
        events = {f"{what}: {kind}": count for (what, kind), count in sorted(self.events.items())}
        return Report(self.accuracy.tolist(), self.learner.modules, events)

    def state(self) -> dict[str, Any]:
        memories = [_memory(mode) for mode in self.modes]
        more = {"modes": memories, "codec": self.codec.memory}
        return {name: getattr(self, name) for name in _STATE} | more

    def restore(self, state: Mapping[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])
        self.codec.memory = state["codec"]
        for mode, memory in zip(self.modes, state["modes"], strict=True):
            vars(mode).update(memory)
        self._recall()

    def _recall(self) -> None:
        """Which instances each task has, from what it holds."""
        for task in self.seen():
            known = [task.train.x]
            if task.number in self.received:
                known.append(self.received[task.number].x)
            self._known[task.number] = {_digest(x) for each in known for x in each}

    def step(self, tick: Tick, inbox: Inbox) -> Step:
        outbox: list[Message] = []
        for message in self.codec.decoded(inbox, self.learner, self.note):
            outbox += self._mode_of(message).receive(self, message, tick)
        if tick.exchange == 0:
            if tick.task != self.current:
                self._begin(tick.task)
            for mode in self.modes:
                if self._learns(tick.task) and mode.setting.opens(tick):
                    outbox += mode.begin(self, tick)
        if tick.train:
            for mode in self.modes:
                yield from mode.settle(self, tick)
            yield from self._learn(tick)
        return self.codec.encoded(outbox)

    def _mode_of(self, message: Message) -> Mode:
        kind = message.kind.partition(".")[0]
        return next(mode for mode in self.modes if mode.kind == kind)

    def _learns(self, number: int) -> bool:
        """Tasks that are learnt jointly wait until all of them are there."""
        return number >= self.config.tasks_jointly - 1

    # What it holds

    def seen(self) -> Sequence[Task]:
        return self.tasks[: self.current + 1]

    def kept(self) -> Iterator[tuple[int, Instances]]:
        """The training instances that it still has: (task, instances)."""
        yield self.current, self.tasks[self.current].train
        yield from self.replay.items()

    def held(self) -> Instances:
        own = [each for _, each in self.kept()]
        return Instances(torch.cat([e.x for e in own]), torch.cat([e.label for e in own]))

    def entered(self, x: Tensor) -> Tensor:
        """Instances as its first layer takes them; the entrance is common to all agents."""
        return entrance(self.shape, x, self.identity.common)

    def receive(self, x: Tensor, label: Tensor, room: int) -> bool:
        """Keep each instance that fits a task it has seen, once. room: kept per task at most.
        Returns whether any fitted."""
        fits = False
        named = [(one, name, _digest(one)) for one, name in zip(x, label.tolist(), strict=True)]
        for task in self.seen():
            known = self._known[task.number]
            for one, name, digest in named:
                buffer = self.received.get(task.number)
                if name not in task.classes:
                    continue
                fits = True
                if digest not in known and (buffer is None or len(buffer) < room):
                    known.add(digest)
                    self.received[task.number] = _joined(buffer, one, name)
        return fits

    # What it sends and accepts

    def to_neighbours(self, kind: str, parcel: Parcel, tick: Tick) -> list[Message]:
        return [
            Message(self.number, neighbour, kind, (parcel,), tick.round)
            for neighbour in self.neighbours
        ]

    def accepts(self, message: Message, arrays: Iterable[Tensor], fits: bool) -> bool:
        """Whether what came has the shapes it should, and is finite; noted where it is not."""
        if not fits:
            self.note("other shapes", message)
        elif not all(bool(array.isfinite().all()) for array in arrays):
            self.note("not finite", message)
        else:
            return True
        return False

    def holds_instances(self, arrays: Mapping[str, Tensor]) -> bool:
        """Whether these are labelled instances such as its own."""
        if set(arrays) != {"x", "label"}:
            return False
        x, label, own = arrays["x"], arrays["label"], self.tasks[0].train
        kinds = (x.dtype, label.dtype) == (own.x.dtype, own.label.dtype)
        if not kinds or x.shape[1:] != own.x.shape[1:] or label.shape != x.shape[:1]:
            return False
        if self.shape.own is not None:
            try:  # as it may know no such token
                self.entered(x)
            except ConfigError:
                return False
        return True

    def note(self, what: str, message: Message) -> None:
        self.events[what, message.kind] += 1

    # What it learns

    def _begin(self, number: int) -> None:
        assert number == self.current + 1, "first tasks in common are learnt before"
        if self.current >= 0:
            self._remember(self.tasks[self.current])
        self.current = number
        self._known[number] = {_digest(x) for x in self.tasks[number].train.x}
        self.learner.new_task()
        if self.shape.modular and number >= INITIAL_TASKS:
            add_candidate(self.learner, number, self.seed)

    def _remember(self, task: Task) -> None:
        random = generator_of(self.seed, _REPLAY, task.number)
        chosen = torch.from_numpy(random.permutation(len(task.train))[: self.config.replay])
        self.replay[task.number] = Instances(task.train.x[chosen], task.train.label[chosen])

    def _learn(self, tick: Tick) -> Generator[Job, Any, None]:
        """The epochs up to the next round, and what is left to decide when a task ends."""
        end = tick.epoch + tick.train
        last = end == self.config.epochs
        key = (self.seed, _TRAINING, tick.task)
        if tick.epoch == 0:
            yield from self._examine(tick.task, 0)
        if tick.task < self.config.tasks_jointly:
            if self._learns(tick.task):
                yield self._train(self.examples_first(), "whole", range(tick.epoch, end), key)
        elif not self.shape.modular:
            yield self._train(self.examples_all(), "whole", range(tick.epoch, end), key)
        else:
            alone = end - (last and self.config.accommodate)
            yield self._train(self.examples_now(), "assimilate", range(tick.epoch, alone), key)
            if last:
                if self.config.accommodate:
                    yield self._train(self.examples_all(), "accommodate", range(alone, end), key)
                yield from self._decide(tick.task)
        yield from self._examine(tick.task, end)

    def _train(
        self, examples: Examples, lesson: Lesson, epochs: range, key: tuple[int, ...]
    ) -> Train:
        return Train(self.learner, examples, lesson, epochs, key, self.penalty)

    def _decide(self, number: int) -> Generator[Job, Any, None]:
        """Keep the candidate only where the task is clearly better with it."""
        examples = self.examined[number]
        with_ = yield Examine(self.learner, examples)
        without = yield Examine(self.learner, examples, without=True)
        a, b = float(with_[number]), float(without[number])
        if b == 0 or (a - b) / b > self.config.keep_above:
            self.added[number] = self.learner.modules
            keep_candidate(self.learner, number)
        else:
            drop_candidate(self.learner, number)

    def _examine(self, number: int, epoch: int) -> Generator[Job, Any, None]:
        if epoch % self.config.evaluate_every and epoch != self.config.epochs:
            return
        parts = [self.examined[task.number] for task in self.seen()]
        found = yield Examine(self.learner, _together(parts))
        self.accuracy = found
        self.curve.append((number, epoch, found.tolist()))

    # What it is trained on

    def examples_now(self) -> Examples:
        """The current task's, with what was received for it."""
        return self._with_received([self.current])

    def examples_first(self) -> Examples:
        """All of the tasks that are learnt jointly, whose training instances it still has."""
        return self._with_received(range(self.config.tasks_jointly))

    def examples_all(self) -> Examples:
        """The current task's, what is kept of earlier ones, and all that was received."""
        parts = [self._examples(self.tasks[number], own) for number, own in self.kept()]
        parts += [self._examples(self.tasks[n], own) for n, own in sorted(self.received.items())]
        return _together(parts)

    def _with_received(self, numbers: Sequence[int]) -> Examples:
        parts = []
        for number in numbers:
            task = self.tasks[number]
            parts.append(self._examples(task, task.train))
            if number in self.received:
                parts.append(self._examples(task, self.received[number]))
        return _together(parts)

    def _examples(self, task: Task, own: Instances) -> Examples:
        there = torch.full((len(own),), task.number)
        return Examples(self.entered(own.x), task.local(own.label), there)


def _memory(mode: Mode) -> dict[str, Any]:
    return {name: value for name, value in vars(mode).items() if name != "setting"}


def _together(parts: Sequence[Examples]) -> Examples:
    fields = ("x", "label", "task")
    return Examples(*(torch.cat([getattr(part, name) for part in parts]) for name in fields))


def _joined(buffer: Instances | None, x: Tensor, label: int) -> Instances:
    one = Instances(x[None].clone(), torch.tensor([label]))
    if buffer is None:
        return one
    return Instances(torch.cat([buffer.x, one.x]), torch.cat([buffer.label, one.label]))


def _digest(x: Tensor) -> str:
    return hashlib.blake2b(x.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
