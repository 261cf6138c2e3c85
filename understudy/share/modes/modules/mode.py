"""Modules cross the edges: "modmod" of arXiv:2405.17466.

at the beginning of a task, once the agent has its first modules
    ask every neighbour, with the task's classes (iou) or some labelled instances (leep)
    a neighbour scores those of its tasks that added a module and sends the best `candidates`
    the candidate begins as the most similar module, or as the one that is best after a tryout
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from understudy.actors.jobs import Job
from understudy.actors.records import registered
from understudy.link.carrier import Message, Parcel
from understudy.objectives import class_overlap, leep
from understudy.share.agent import Agent, Mode
from understudy.share.jobs import Examine, Train
from understudy.share.learner import Learner
from understudy.share.leaving import Leaving
from understudy.share.modes.modules.leaving import leaving
from understudy.share.modes.modules.settings import Settings as ModuleSharing
from understudy.share.settings import ShareConfig
from understudy.share.tick import Tick
from understudy.share.training import Examples, answers

_TRYOUT = 30  # what a draw is for


@registered
@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A module of a neighbour's task, and how similar the task is."""

    weights: dict[str, Tensor]
    similarity: float


class Modules(Mode):
    Settings = ModuleSharing
    kind = "modules"
    setting: ModuleSharing

    def __init__(self, setting: ModuleSharing) -> None:
        super().__init__(setting)
        self.asked: int | None = None  # the round of the query whose offers still count
        self.offers: list[Offer] = []

    def leaving(self, config: ShareConfig) -> Iterator[Leaving]:
        return leaving(config)

    def begin(self, agent: Agent, tick: Tick) -> list[Message]:
        task = agent.tasks[tick.task]
        self.asked, self.offers = tick.round, []
        if self.setting.mode == "iou":
            parcel = Parcel({"classes": torch.tensor(task.classes)}, 0)
        else:
            held = task.validation
            chosen = torch.cat(
                [
                    (held.label == c).nonzero().squeeze(1)[: self.setting.points]
                    for c in task.classes
                ]
            )
            arrays = {"x": held.x[chosen], "label": held.label[chosen]}
            parcel = Parcel(arrays, arrays["x"].numel())
        return agent.to_neighbours("modules.query", parcel, tick)

    def receive(self, agent: Agent, message: Message, tick: Tick) -> list[Message]:
        if message.kind == "modules.query":
            return self._answered(agent, message)
        if message.round != self.asked:
            agent.note("too late", message)  # the task that asked has begun without it
            return []
        for parcel in message.parcels:
            arrays = parcel.arrays
            weights = {
                name.removeprefix("module."): array
                for name, array in arrays.items()
                if name.startswith("module.")
            }
            fits = {name: tuple(each.shape) for name, each in weights.items()} == agent.shape.module
            similarity = arrays.get("similarity", torch.empty(0))
            fits = fits and similarity.numel() == 1
            if agent.accepts(message, (*weights.values(), similarity), fits):
                self.offers.append(Offer(weights, float(arrays["similarity"])))
        return []

    def _answered(self, agent: Agent, message: Message) -> list[Message]:
        """The best of its modules. An answer bears the round of its query, the asker's own."""
        arrays = message.parcels[0].arrays
        if self.setting.mode == "iou":
            fits = set(arrays) == {"classes"} and arrays["classes"].dim() == 1
        else:
            fits = agent.holds_instances(arrays) and len(arrays["x"]) > 0
        if not agent.accepts(message, arrays.values(), fits):
            return []
        scored = [
            (self._similarity(agent, number, arrays), number) for number in sorted(agent.added)
        ]
        best = sorted(scored, key=lambda pair: (-pair[0], pair[1]))[: self.setting.candidates]
        if not best:
            return []
        parcels = tuple(self._parcel(agent, number, score) for score, number in best)
        answer = (agent.number, message.sender, "modules", parcels, message.round)
        return [Message(*answer, trims=True)]

    def _similarity(self, agent: Agent, number: int, arrays: Mapping[str, Tensor]) -> float:
        if self.setting.mode == "iou":
            return class_overlap(agent.tasks[number].classes, arrays["classes"].tolist())
        x = agent.entered(arrays["x"])
        there = torch.full((len(x),), number)
        logits = answers(agent.learner, Examples(x, torch.zeros_like(there), there))
        return leep(logits.softmax(dim=1), arrays["label"])

    def _parcel(self, agent: Agent, number: int, similarity: float) -> Parcel:
        """The module counts as the paper counts it; what goes with it is in the bytes."""
        weights, place = agent.learner.weights, agent.added[number]
        module = {
            f"module.{name}": weights[f"modules.{name}"][place].clone()
            for name in agent.shape.module
        }
        arrays = module | {
            "decoder": weights["decoders.weight"][number].clone(),
            "structure": weights["structure"][number].clone(),
            "classes": torch.tensor(agent.tasks[number].classes),
            "similarity": torch.tensor(similarity),
        }
        return Parcel(arrays, sum(weight.numel() for weight in module.values()))

    def settle(self, agent: Agent, tick: Tick) -> Generator[Job, Any, None]:
        """The candidate of this task begins as the most similar module, if there is any."""
        self.asked = None
        if not (self.setting.opens(tick) and self.offers):
            return
        worth = [offer.similarity for offer in self.offers]
        if self.setting.tryout:
            worth = []
            for number, offer in enumerate(self.offers):
                trial = deepcopy(agent.learner)
                _begin_as(trial, offer)
                key = (agent.seed, _TRYOUT, tick.task, number)
                epochs = range(self.setting.tryout)
                yield Train(trial, agent.examples_now(), "assimilate", epochs, key)
                right = yield Examine(trial, agent.examined[tick.task])
                worth.append(float(right[tick.task]))
        _begin_as(agent.learner, self.offers[worth.index(max(worth))])


def _begin_as(learner: Learner, offer: Offer) -> None:
    for name, weight in offer.weights.items():
        learner.weights[f"candidate.{name}"][0] = weight
