"""Weights cross the edges: FedAvg over a closed neighbourhood, and what was built on it.

    every `every` epochs, before training
        send theta (fedcurv: and its Fisher diagonal) to every neighbour
        theta <- mean of own and what was received
        fedprox:  train with + mu/2 * ||theta - mean||
        fedcurv:  train with + mu * sum_j F_j (theta - theta_j)^2
        fedfish:  theta <- F * own + (1 - F) * mean

Decoders, structures and the entrance stay at home; of a modular learner the first modules travel.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from understudy.actors.jobs import Job
from understudy.link.carrier import Message, Parcel
from understudy.objectives import curvature_target, fisher_interpolation, neighbourhood_mean
from understudy.share.agent import Agent, Mode
from understudy.share.fisher import fisher_of
from understudy.share.leaving import Leaving
from understudy.share.modes.parameters.leaving import leaving
from understudy.share.modes.parameters.settings import Settings as ParameterSharing
from understudy.share.penalties import Curvature, Proximal
from understudy.share.settings import ShareConfig
from understudy.share.tick import Tick


class Parameters(Mode):
    Settings = ParameterSharing
    kind = "parameters"
    setting: ParameterSharing

    def __init__(self, setting: ParameterSharing) -> None:
        super().__init__(setting)
        self.received: dict[int, dict[str, Tensor]] = {}  # by sender, since the last mean
        self.newest: dict[int, int] = {}  # the round of the last that was received, by sender

    def leaving(self, config: ShareConfig) -> Iterator[Leaving]:
        return leaving(config)

    def begin(self, agent: Agent, tick: Tick) -> list[Message]:
        weights = travelling(agent)
        arrays = {name: weight.clone() for name, weight in weights.items()}
        if self.setting.mode == "fedcurv":
            fishers = fisher_of(agent.learner, agent.examples_now())
            arrays |= {f"fisher.{name}": fisher for name, fisher in fishers.items()}
        parcel = Parcel(arrays, sum(array.numel() for array in arrays.values()))
        return agent.to_neighbours(self.kind, parcel, tick)

    def receive(self, agent: Agent, message: Message, tick: Tick) -> list[Message]:
        """The newest of each neighbour; what is stale, does not fit or is no number is refused."""
        if self._is_stale(message, tick):
            agent.note("stale", message)
            return []
        arrays = dict(message.parcels[0].arrays)
        wanted = {name: weight.shape for name, weight in travelling(agent).items()}
        if self.setting.mode == "fedcurv":
            wanted |= {f"fisher.{name}": shape for name, shape in wanted.items()}
        fits = {name: array.shape for name, array in arrays.items()} == wanted
        if agent.accepts(message, arrays.values(), fits):
            self.received[message.sender] = arrays
            self.newest[message.sender] = message.round
        return []

    def _is_stale(self, message: Message, tick: Tick) -> bool:
        """Older than it may be, or than what its sender sent before. Rounds are each
        agent's own: of two at different paces, the faster finds the slower's weights old."""
        oldest = self.newest.get(message.sender, message.round)
        if self.setting.max_age is not None:
            oldest = max(oldest, tick.round - self.setting.max_age)
        return message.round < oldest

    def settle(self, agent: Agent, tick: Tick) -> Generator[Job, Any, None]:
        yield from ()
        if not self.received:
            return
        own, received = travelling(agent), list(self.received.values())
        self.received = {}
        mean = {name: neighbourhood_mean(own[name], [r[name] for r in received]) for name in own}
        if self.setting.mode == "fedfish":
            fishers = fisher_of(agent.learner, agent.examples_now())
            mean = {
                name: torch.stack(
                    [
                        fisher_interpolation(*module, self.setting.temperature)
                        for module in zip(own[name], mean[name], fishers[name], strict=True)
                    ]
                )
                for name in own
            }
        for name in own:
            own[name].copy_(mean[name])  # a view of the learner's own
        if self.setting.mode == "fedprox":
            agent.penalty = Proximal(mean, self.setting.mu, self.setting.squared)
        elif self.setting.mode == "fedcurv":
            targets = {
                name: curvature_target(
                    [r[f"fisher.{name}"] for r in received], [r[name] for r in received]
                )
                for name in own
            }
            agent.penalty = Curvature(targets, self.setting.mu)


def travelling(agent: Agent) -> dict[str, Tensor]:
    """The weights that cross, as views: all of a monolithic learner's, a modular one's first."""
    learner = agent.learner
    return {name: learner.weights[name][: learner.first] for name in learner.named("modules")}
