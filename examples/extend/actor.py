"""An actor of your own: a server on a star, which averages what its clients send (FedAvg)."""

from __future__ import annotations

import torch

from understudy.actors.crew import together
from understudy.actors.factory import Factory
from understudy.actors.jobs import Step
from understudy.actors.loop import run
from understudy.link.carrier import Carrier, Inbox, Message, Parcel
from understudy.link.graph import make_graph

CLIENTS = 4


class Server:
    def __init__(self, number: int, receivers: list[int]) -> None:
        self.number, self.receivers, self.model = number, receivers, torch.zeros(2)
        self.log: list[list[float]] = []  # the model after every step

    def updated(self, models: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(models).mean(dim=0)

    def step(self, tick: int, inbox: Inbox) -> Step:
        yield from ()  # here it could wait for jobs; see understudy.actors.jobs
        if inbox.messages:
            self.model = self.updated([each.parcels[0].arrays["model"] for each in inbox.messages])
        self.log.append(self.model.tolist())
        parcel = (Parcel({"model": self.model}, self.model.numel()),)
        return [Message(self.number, to, "model", parcel, tick) for to in self.receivers]

    def state(self) -> dict[str, object]:
        return dict(vars(self))

    def restore(self, state: dict[str, object]) -> None:
        vars(self).update(state)

    def report(self) -> list[float]:
        return self.model.tolist()


class Client(Server):
    def updated(self, models: list[torch.Tensor]) -> torch.Tensor:  # half the way to its own data
        return (models[0] + torch.tensor([self.number, 1.0])) / 2


class Federation(Factory):
    sizes = (1 + CLIENTS,)  # of one population; number 0 is the server

    def actor(self, population: int, number: int) -> Server:
        return Client(number, [0]) if number else Server(0, list(range(1, 1 + CLIENTS)))


def main(rounds: int = 10) -> list[list[float]]:
    """The server's model after every round. Server and clients step by turns."""
    crew = together(Federation())
    turns = ([0] + [None] * CLIENTS, [None] + [0] * CLIENTS)
    run(crew, [Carrier(make_graph("star", 1 + CLIENTS))], [[turn] for turn in turns * rounds])
    return crew.logs()[0][0]
