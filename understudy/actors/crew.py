"""A crew takes the steps of all actors: in this process, in several, or on machines apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from understudy.actors.actor import Actor, Address
from understudy.actors.factory import Factory, addresses_of
from understudy.actors.jobs import run_steps
from understudy.link.carrier import Inbox, Message

Moment = Sequence[Sequence[Any]]  # ticks by population and actor; None: it takes no step
Inboxes = Sequence[Mapping[int, Inbox]]


class Crew(Protocol):
    """Everything by population, then by actor."""

    def step(self, moment: Moment, inboxes: Inboxes) -> list[list[Message]]:
        """One step of every actor that has a tick; what they send, by population."""
        ...

    def logs(self) -> list[list[list[Any]]]:
        """Every entry so far."""
        ...

    def reports(self) -> list[list[Any]]: ...

    def states(self) -> list[list[dict[str, Any]]]:
        """To be saved before the next step, which may change what they hold."""
        ...

    def restore(self, states: Sequence[Sequence[Mapping[str, Any]]]) -> None: ...

    def close(self) -> None: ...


class Together:
    """All actors in this process: alike jobs of all of them are run together."""

    def __init__(self, populations: Sequence[Sequence[Actor]]) -> None:
        self.populations = populations

    def step(self, moment: Moment, inboxes: Inboxes) -> list[list[Message]]:
        addresses, steps = [], []
        for population, (actors, ticks) in enumerate(zip(self.populations, moment, strict=True)):
            for number, (actor, tick) in enumerate(zip(actors, ticks, strict=True)):
                if tick is not None:
                    addresses.append((population, number))
                    steps.append(actor.step(tick, inboxes[population][number]))
        sent = dict(zip(addresses, run_steps(steps), strict=True))
        return by_population(sent, len(self.populations))

    def logs(self) -> list[list[list[Any]]]:
        return [[actor.log for actor in actors] for actors in self.populations]

    def reports(self) -> list[list[Any]]:
        return [[actor.report() for actor in actors] for actors in self.populations]

    def states(self) -> list[list[dict[str, Any]]]:
        return [[actor.state() for actor in actors] for actors in self.populations]

    def restore(self, states: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        for actors, kept in zip(self.populations, states, strict=True):
            for actor, state in zip(actors, kept, strict=True):
                actor.restore(state)

    def close(self) -> None: ...


def together(
    factory: Factory, states: Sequence[Sequence[Mapping[str, Any]]] | None = None
) -> Together:
    """All actors of a factory in this process, made at once."""
    addresses = addresses_of(factory.sizes)
    kept = None if states is None else [states[p][number] for p, number in addresses]
    made = iter(factory.make(addresses, kept))
    return Together([[next(made) for _ in range(size)] for size in factory.sizes])


def by_population(
    outboxes: Mapping[Address, Iterable[Message]], populations: int
) -> list[list[Message]]:
    """What actors send, by population, in the order of the actors."""
    sent: list[list[Message]] = [[] for _ in range(populations)]
    for (population, _), outbox in sorted(outboxes.items(), key=lambda item: item[0]):
        sent[population] += outbox
    return sent
