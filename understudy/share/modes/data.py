"""Instances cross the edges.

Receiver first: an agent asks about the validation instances that it finds hardest, and every
neighbour that knows their class sends the nearest of its own. Simple: it says how much each class
is worth to it, and every neighbour sends so many at random.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from understudy.link.carrier import Message, Parcel
from understudy.models.chance import generator_of
from understudy.objectives import largest_remainder, nearest, query_scores
from understudy.share.agent import Agent
from understudy.share.settings import DataSharing
from understudy.share.training import Examples, answers, embedded
from understudy.share.wishes import Tick, Wish
from understudy.tasks.holdings import Instances

_SENDING = 20  # what a draw is for


class Data:
    kind = "data"
    exchanges = 3  # a query, the answers, and what is made of them

    def __init__(self, setting: DataSharing) -> None:
        self.setting = setting

    def opens(self, tick: Tick) -> bool:
        return tick.epoch > 0 and tick.epoch % self.setting.every == 0

    def begin(self, agent: Agent, tick: Tick) -> list[Message]:
        if self.setting.mode == "simple":
            parcel = self._wanted(agent)
        else:
            parcel = self._hardest(agent, tick.task)
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

    def _hardest(self, agent: Agent, number: int) -> Parcel:
        held = agent.tasks[number].validation
        examples = agent.examined[number]
        scores = query_scores(answers(agent.learner, examples), examples.label, self.setting.score)
        hardest = scores.argsort(descending=True, stable=True)[: self.setting.queries]
        x = held.x[hardest]
        return Parcel({"x": x, "label": held.label[hardest]}, x.numel())

    def receive(self, agent: Agent, message: Message, tick: Tick) -> list[Message]:
        if message.kind == "data":
            for parcel in message.parcels:
                self._accept(agent, message, parcel, tick.task)
            return []
        arrays = message.parcels[0].arrays
        if self.setting.mode == "simple":
            found = self._drawn(
                agent, message, arrays["classes"].tolist(), arrays["worth"].tolist()
            )
        else:
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
        luck = generator_of(agent.seed, _SENDING, message.round, message.sender)
        found = []
        for i, share in sorted(zip(known, shares, strict=True), key=lambda pair: -pair[1]):
            places = (held.label == classes[i]).nonzero().squeeze(1)
            chosen = places[torch.from_numpy(luck.permutation(len(places))[:share])]
            found += [Instances(held.x[p][None], held.label[p][None]) for p in chosen]
        return found

    def _near(self, agent: Agent, x: Tensor, label: Tensor) -> list[Instances]:
        """The nearest of each query's class, as this agent sees them; the best match first."""
        found = []
        for query, name in zip(x, label.tolist(), strict=True):
            places: list[tuple[int, Tensor]] = []
            for task, own in agent.kept():
                same = (own.label == name).nonzero().squeeze(1)
                if len(same):
                    places.append((task, own.x[same]))
            if not places:
                continue
            pool = torch.cat([own for _, own in places])
            seen = torch.cat([self._seen(agent, own, task) for task, own in places])
            mine = self._seen(agent, query[None], places[0][0])
            chosen = nearest(mine, seen, self.setting.neighbours)[0]
            found.append(Instances(pool[chosen], torch.full((len(chosen),), name)))
        return found

    def _seen(self, agent: Agent, x: Tensor, task: int) -> Tensor:
        there = torch.full((len(x),), task)
        return embedded(agent.learner, Examples(agent.entered(x), torch.zeros_like(there), there))

    def _accept(self, agent: Agent, message: Message, parcel: Parcel, current: int) -> None:
        """Instances go to every task of this agent that has their class, once each."""
        x, label = parcel.arrays["x"], parcel.arrays["label"]
        fits = x.shape[1:] == agent.shape.instance and len(x) == len(label)
        if not agent.accepts(message, (x,), fits):
            return
        if not agent.receive(x, label, self.setting.room):
            agent.note("fits no task", message)

    def settle(self, agent: Agent, tick: Tick) -> Generator[Wish, Tensor | None, None]:
        yield from ()
