"""The seam of methods: what one client holds, learns, sends and takes.

    begin(task)                  as a task begins
    train(lesson)                in each round: steps of Adam on the sum of `terms`
    upload(round), receive(...)  what goes to the server, and what comes from it
    end(task)                    after the last round's answer, before the next task

A new kind makes its `modules` and says `logits`; most add `terms` or what is uploaded. The server
never has a method: it knows from `uploads` and `downloads` what may cross. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.federate.methods.settings import MethodSettings

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from understudy.federate.client_tasks import Examples, PreparedTask
    from understudy.federate.foundations.foundation import Foundation
    from understudy.federate.lesson import Lesson
    from understudy.federate.settings import FederateConfig
    from understudy.federate.small.network import SmallNetwork
    from understudy.federate.together import Batches

Arrays = Mapping[str, "Tensor"]
Shape = tuple[int | None, ...]  # None: any length
Shapes = Mapping[str, Shape]  # by the names of arrays


@dataclass(frozen=True, slots=True)
class Common:
    """What the server and all clients of a federation know."""

    config: FederateConfig
    foundation: Foundation
    classes: int  # of the whole set
    seed: int  # of the federation
    small: Callable[[], SmallNetwork] | None = None  # makes the first client's small network


@dataclass(frozen=True, slots=True)
class Own:
    """What one client has. small: makes its small network, where the method has one."""

    number: int
    seed: int
    tasks: Sequence[PreparedTask]
    small: Callable[[], SmallNetwork] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """allowed: (classes,), those that may be answered; random: for what a step draws."""

    examples: Examples
    allowed: Tensor
    random: np.random.Generator


class Method:
    """Sends nothing and takes nothing: subclass it."""

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    returned: ClassVar[tuple[str, ...]] = ()  # kinds of messages that come back as they were sent

    modules: nn.ModuleDict  # what is trained; a subclass makes it
    remembered: ClassVar[tuple[str, ...]] = ()  # attributes that a checkpoint keeps

    def __init__(self, settings: Any, common: Common, own: Own) -> None:
        self.settings, self.common, self.own = settings, common, own
        self.current = -1

    # What a kind says

    def logits(self, examples: Examples) -> Tensor:
        """(n, classes), over all classes of the set. Where a kind has a `likeness`, examples and
        logits may have the clients before the samples."""
        raise NotImplementedError

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """The parts of the loss of a step, by name."""
        from understudy.federate.losses import masked_cross_entropy

        logits = self.logits(batch.examples)
        return {"task": masked_cross_entropy(logits, batch.examples.label, batch.allowed)}

    def rate(self, name: str) -> float:
        """The learning rate of a parameter, as a multiple of the client's."""
        return 1.0

    def begin(self, task: PreparedTask) -> None: ...

    def end(self, task: PreparedTask) -> None: ...

    def upload(self, round_: int) -> Mapping[str, Arrays]:
        """What goes to the server after a round's training, by kind of message."""
        return {}

    def receive(self, kind: str, arrays: Arrays) -> None:
        """What has come from the server, of the shapes that `downloads` says, and finite."""

    @classmethod
    def uploads(cls, common: Common) -> Mapping[str, Shapes]:
        """What a client sends: by kind of message, its arrays and their shapes."""
        return {}

    @classmethod
    def downloads(cls, common: Common) -> Mapping[str, Shapes]:
        """What a client takes."""
        sent = cls.uploads(common)
        return {kind: shapes for kind, shapes in sent.items() if kind in cls.returned}

    @classmethod
    def leaving(cls, settings: Any) -> Sequence[str]:
        """What leaves a client, in plain sentences."""
        return []

    @classmethod
    def check(cls, common: Common) -> None:
        """Refuse, with a ConfigError, a foundation that it cannot use."""

    # What every kind has

    def start(self, task: PreparedTask) -> None:
        self.current = task.number
        self.begin(task)

    # Several clients as one: only where a kind says `likeness`

    @property
    def likeness(self) -> Hashable | None:
        """What clients that can be computed as one have in common; None: each is alone."""
        return None

    def form(self) -> Hashable:
        """The kinds and shapes of its modules, and what a small network reads."""
        small = self.own.tasks[0].train.small
        return (
            tuple((name, type(each)) for name, each in self.modules.items()),
            tuple((name, tuple(each.shape)) for name, each in self.modules.named_parameters()),
            tuple((name, tuple(each.shape[1:])) for name, each in small.items()),
        )

    def stand_for(self, clients: Sequence[Any]) -> None:
        """Keep what steps of these clients need beside their modules, clients first. Called on a
        copy, whose `modules` and foundation then take (clients, samples, ..)."""

    def terms_together(self, clients: Sequence[Any], batches: Batches) -> Mapping[str, Tensor]:
        """`terms` of the first few of them, (clients,) each."""
        return {"task": batches.cross_entropy(self.logits(batches.examples))}

    def train(self, lesson: Lesson) -> dict[str, float]:
        """One client's training of a round; the mean of every term over its steps."""
        import torch

        task = self.own.tasks[lesson.task]
        allowed = self.allowed(self.common.config.masks.train, task.as_trained)
        tuned: dict[float, list[Any]] = {}
        for name, each in self.modules.named_parameters():
            if each.requires_grad:
                tuned.setdefault(self.rate(name), []).append(each)
        groups = [{"params": p, "lr": r * lesson.learning_rate} for r, p in tuned.items()]
        optimiser = torch.optim.Adam(groups)
        found: dict[str, list[float]] = {}
        self.modules.train()
        for places, random in lesson.batches(len(task.train)):
            terms = self.terms(Batch(task.train.rows(places), allowed, random))
            loss = torch.stack(list(terms.values())).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            for name, term in terms.items():
                found.setdefault(name, []).append(float(term.detach()))
        self.modules.eval()
        return {name: sum(values) / len(values) for name, values in found.items()}

    def accuracies(self, chunk: int = 256) -> list[float]:
        """Of every task's test samples, the share that is right; NaN where a task has none."""
        import torch

        from understudy.federate.losses import masked

        mode, found = self.common.config.masks.test, []
        with torch.no_grad():
            for task in self.own.tasks:
                allowed, right = self.allowed(mode, task), 0
                for first in range(0, len(task.test), chunk):
                    part = task.test.rows(slice(first, first + chunk))
                    answers = masked(self.logits(part), allowed).argmax(dim=1)
                    right += int((answers == part.label).sum())
                found.append(right / len(task.test) if len(task.test) else float("nan"))
        return found

    def allowed(self, mode: str, task: PreparedTask) -> Tensor:
        """(classes,): among which an answer for this task is looked for."""
        import torch

        classes = set(task.classes)
        if mode == "seen":
            classes.update(*(each.classes for each in self.own.tasks[: self.current + 1]))
        found = torch.full((self.common.classes,), mode == "all")
        found[sorted(classes)] = True
        return found

    def class_counts(self) -> Tensor:
        """(classes,): training samples of each class in the tasks so far."""
        import torch

        labels = [task.train.label for task in self.own.tasks[: self.current + 1]]
        counts = torch.bincount(torch.cat(labels), minlength=self.common.classes)
        return counts.to(torch.float32)

    def state(self) -> dict[str, Any]:
        """All that has changed since it was made."""
        kept = {name: getattr(self, name) for name in self.remembered}
        return {"modules": dict(self.modules.state_dict()), "current": self.current} | kept

    def restore(self, state: Mapping[str, Any]) -> None:
        self.modules.load_state_dict(state["modules"])
        self.current = state["current"]
        for name in self.remembered:
            setattr(self, name, state[name])
