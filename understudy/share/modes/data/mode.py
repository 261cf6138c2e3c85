"""Instances cross the edges.

Receiver first: an agent asks about the validation instances that it finds hardest, and every
neighbour that knows their class sends the nearest of its own: of that class, or, as the authors of
arXiv:2405.17466 do, of any task that has it. Simple: it says how much each class is worth to it,
and every neighbour sends random instances in that proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from understudy.actors.generators import generator_of
from understudy.link.carrier import Message, Parcel
from understudy.objectives import largest_remainder, nearest, query_scores
from understudy.share.agent import Agent, Mode
from understudy.share.leaving import Leaving
from understudy.share.modes.data.leaving import leaving
from understudy.share.modes.data.settings import Settings as DataSharing
from understudy.share.settings import ShareConfig
from understudy.share.tick import Tick
from understudy.share.training import Examples, answers, embedded
from understudy.tasks.instances import Instances

_SENDING, _ASKING = 20, 21  # what a draw is for


class Data(Mode):
    Settings = DataSharing
    kind = "data"
    setting: DataSharing

    def leaving(self, config: ShareConfig) -> Iterator[Leaving]:
        return leaving(config)

    def begin(self, agent: Agent, tick: Tick) -> list[Message]:
        if self.setting.mode == "simple":
            parcel = self._wanted(agent)
        else:
            parcel = self._asked_about(agent, tick)
        return agent.to_neighbours("data.query", parcel, tick)

    def _wanted(self, agent: Agent) -> Parcel:
        """What each class seen so far is worth: the share of its task that is still wrong."""
        worth: dict[int, float] = {}
        for task in agent.seen():
            wrong = 1 - float(agent.accuracy[task.number].nan_to_num(0.0))
            for name in task.classes:
                worth[name] = max(wrong, worth.get(name, 0.0))
        return Parcel(
            {"classes": torch.tensor([*worth]), "worth": torch.tensor([*worth.values()])}, 0
        )

    def _asked_about(self, agent: Agent, tick: Tick) -> Parcel:
        """The validation instances of the task that it finds hardest, or any."""
        held, examples = agent.tasks[tick.task].validation, agent.examined[tick.task]
        if self.setting.score == "random":
            random = generator_of(agent.seed, _ASKING, tick.round)
            order = torch.from_numpy(random.permutation(len(held)))
        else:
            logits = answers(agent.learner, examples)
            scores = query_scores(logits, examples.label, self.setting.score)
            order = scores.argsort(descending=True, stable=True)
        chosen = order[: self.setting.queries]
        x = held.x[chosen]
        return Parcel({"x": x, "label": held.label[chosen]}, x.numel())

    def receive(self, agent: Agent, message: Message, tick: Tick) -> list[Message]:
        if message.kind == "data":
            for parcel in message.parcels:
                self._accept(agent, message, parcel)
            return []
        arrays = message.parcels[0].arrays
        if self.setting.mode == "simple":
            if not agent.accepts(message, arrays.values(), _says_worth(arrays)):
                return []
            found = self._drawn(
                agent, message, arrays["classes"].tolist(), arrays["worth"].tolist()
            )
        else:
            if not agent.accepts(message, arrays.values(), agent.holds_instances(arrays)):
                return []
            found = self._near(agent, arrays["x"], arrays["label"])
        parcels = tuple(
            Parcel({"x": each.x, "label": each.label}, each.x.numel())
            for each in found
            if len(each)
        )
        if not parcels:
            return []
        return [Message(agent.number, message.sender, "data", parcels, tick.round, trims=True)]

    def _drawn(
        self, agent: Agent, message: Message, classes: list[int], worth: list[float]
    ) -> list[Instances]:
        """So many instances as a neighbour may have, the classes it wants most first."""
        held = agent.held()
        known = [i for i, name in enumerate(classes) if bool((held.label == name).any())]
        shares = largest_remainder([worth[i] for i in known], self.setting.queries)
        random = generator_of(agent.seed, _SENDING, message.round, message.sender)
        found = []
        for i, share in sorted(zip(known, shares, strict=True), key=lambda pair: -pair[1]):
            places = (held.label == classes[i]).nonzero().squeeze(1)
            chosen = places[torch.from_numpy(random.permutation(len(places))[:share])]
            found += [Instances(held.x[p][None], held.label[p][None]) for p in chosen]
        return found

    def _near(self, agent: Agent, x: Tensor, label: Tensor) -> list[Instances]:
        """What is nearest to each query, as this agent sees it; the best match first."""
        found: dict[int, Instances] = {}  # by place of the query
        for name in label.unique().tolist():
            pool = list(self._pool(agent, name))
            if not pool:
                continue
            theirs = torch.cat([own.x for _, own in pool])
            labels = torch.cat([own.label for _, own in pool])
            if self.setting.labels == "query":
                labels = torch.full_like(labels, name)
            places = (label == name).nonzero().squeeze(1)
            one = pool[0][0]  # whose mixture of modules all are seen by, or they could not compare
            mine, seen = (self._seen(agent, each, one) for each in (x[places], theirs))
            near = nearest(mine, seen, self.setting.neighbours)
            for place, chosen in zip(places.tolist(), near, strict=True):
                found[place] = Instances(theirs[chosen], labels[chosen])
        return [found[place] for place in sorted(found)]

    def _pool(self, agent: Agent, name: int) -> Iterator[tuple[int, Instances]]:
        """What may answer a query of this class, by task: instances of the class alone, or all of
        a task in which there are some."""
        for task, own in agent.kept():
            same = own.label == name
            if not bool(same.any()):
                continue
            if self.setting.among == "task":
                yield task, own
            else:
                yield task, Instances(own.x[same], own.label[same])

    def _seen(self, agent: Agent, x: Tensor, task: int) -> Tensor:
        there = torch.full((len(x),), task)
        return embedded(agent.learner, Examples(agent.entered(x), torch.zeros_like(there), there))

    def _accept(self, agent: Agent, message: Message, parcel: Parcel) -> None:
        """Instances go to every task of this agent that has their class, once each."""
        arrays = parcel.arrays
        if not agent.accepts(message, arrays.values(), agent.holds_instances(arrays)):
            return
        if not agent.receive(arrays["x"], arrays["label"], self.setting.room):
            agent.note("fits no task", message)


def _says_worth(arrays: Mapping[str, Tensor]) -> bool:
    """Whether these are classes, each with the share that is wrong of it."""
    if set(arrays) != {"classes", "worth"}:
        return False
    classes, worth = arrays["classes"], arrays["worth"]
    if classes.dim() != 1 or worth.shape != classes.shape:
        return False
    return classes.dtype == torch.int64 and bool(((worth >= 0) & (worth <= 1)).all())
