"""A server and clients that learn one linear map together: actors of two kinds in a population.

Every client's data come from a file of its own, which nobody else reads.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from understudy.actors.actor import Actor
from understudy.actors.factory import Factory
from understudy.actors.jobs import Job, Step
from understudy.actors.records import registered
from understudy.link.carrier import Carrier, Inbox, Message, Parcel
from understudy.link.graph import make_graph

FEATURES = 3


@registered
@dataclass(frozen=True, slots=True)
class Round:
    number: int


@registered
@dataclass(frozen=True, slots=True)
class Norm:
    """What a member says of itself."""

    norm: float
    messages: int


@dataclass(frozen=True, slots=True, eq=False)
class Fit(Job):
    """Steps of gradient descent of one client, alike ones computed at once."""

    model: Tensor
    x: Tensor
    y: Tensor

    @property
    def likeness(self) -> Hashable:
        return self.x.shape

    @classmethod
    def run(cls, jobs: Sequence[Self]) -> Sequence[Tensor]:
        model, x, y = (
            torch.stack([getattr(job, name) for job in jobs]) for name in ("model", "x", "y")
        )
        for _ in range(5):
            residual = torch.bmm(x, model[..., None]).squeeze(2) - y
            model = model - 0.1 * torch.bmm(x.mT, residual[..., None]).squeeze(2) / x.shape[1]
        return list(model.unbind())


class Member:
    def __init__(self, number: int) -> None:
        self.number, self.model, self.messages = number, torch.zeros(FEATURES), 0
        self.log: list[list[float]] = []

    def message(self, to: int, tick: Round) -> Message:
        parcel = Parcel({"model": self.model.clone()}, FEATURES)
        return Message(self.number, to, "model", (parcel,), tick.number)

    def noted(self, inbox: Inbox) -> list[Tensor]:
        self.messages += len(inbox.messages)
        return [message.parcels[0].arrays["model"] for message in inbox.messages]

    def state(self) -> dict[str, Any]:
        return {"model": self.model, "log": self.log, "messages": self.messages}

    def restore(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    def report(self) -> Norm:
        return Norm(float(self.model.norm()), self.messages)


class Server(Member):
    def __init__(self, clients: Sequence[int]) -> None:
        super().__init__(0)
        self.clients = clients

    def step(self, tick: Round, inbox: Inbox) -> Step:
        yield from ()
        if models := self.noted(inbox):
            self.model = torch.stack(models).mean(dim=0)
        self.log.append(self.model.tolist())
        return [self.message(client, tick) for client in self.clients]


class Client(Member):
    def __init__(self, number: int, data: Path) -> None:
        super().__init__(number)
        self.x, self.y = torch.load(data)

    def step(self, tick: Round, inbox: Inbox) -> Step:
        models = self.noted(inbox)
        if not models:
            return []
        self.model = yield Fit(models[-1], self.x, self.y)
        self.log.append(self.model.tolist())
        return [self.message(0, tick)]


class Federation(Factory):
    entry_type = list[float]
    report_type = Norm
    kinds = ("model",)

    def __init__(self, clients: int, folder: Path, populations: int = 1) -> None:
        self.sizes, self.folder = [1 + clients] * populations, folder

    def actor(self, population: int, number: int) -> Actor:
        if number == 0:
            return Server(range(1, self.sizes[population]))
        return Client(number, self.folder / f"{population}-{number}.pt")

    def first_report(self, address: tuple[int, int]) -> Norm:
        return Norm(0.0, 0)


def write_data(folder: Path, clients: int, populations: int = 1) -> None:
    """Every client's own examples of y = x . (1, 2, 3) with noise."""
    for population in range(populations):
        for number in range(1, 1 + clients):
            generator = torch.Generator().manual_seed(10 * population + number)
            x = torch.randn(20, FEATURES, generator=generator)
            y = x @ torch.tensor([1.0, 2.0, 3.0]) + 0.1 * torch.randn(20, generator=generator)
            torch.save((x, y), folder / f"{population}-{number}.pt")


def carriers(clients: int, populations: int = 1) -> list[Carrier]:
    return [Carrier(make_graph("star", 1 + clients)) for _ in range(populations)]


def moments(clients: int, rounds: int, populations: int = 1) -> list[list[list[Round | None]]]:
    """Server and clients step by turns."""
    found: list[list[list[Round | None]]] = []
    for number in range(rounds):
        tick = Round(number)
        found.append([[tick, *[None] * clients] for _ in range(populations)])
        found.append([[None, *[tick] * clients] for _ in range(populations)])
    return found


def by_hand(folder: Path, clients: int, rounds: int, population: int = 0) -> list[list[float]]:
    """FedAvg as a plain loop: the server's model at the beginning of every round."""
    data = [torch.load(folder / f"{population}-{n}.pt") for n in range(1, 1 + clients)]
    model, found = torch.zeros(FEATURES), []
    for _ in range(rounds):
        found.append(model.tolist())
        moved = []
        for x, y in data:
            own = model
            for _ in range(5):
                own = own - 0.1 * x.T @ (x @ own - y) / len(x)
            moved.append(own)
        model = torch.stack(moved).mean(dim=0)
    return found
