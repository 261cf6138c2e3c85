"""How the actors of a run are made, and which process or machine runs which of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from understudy.actors.actor import Actor, Address
from understudy.errors import ConfigError

HERE = -1  # in place of a part's number: in the process of the crew itself


class Factory(ABC):
    """A description of populations. It can be pickled and is small: a process or node that runs
    some of the actors gets it, makes only these actors, and loads only their data.

    Workers import the class by its module, so it must be in a file that can be imported there.
    """

    sizes: Sequence[int]  # the actors of each population

    # What an actor elsewhere may answer, as one writes it in an annotation.
    entry_type: Any = Any  # an entry of its log
    report_type: Any = Any
    kinds: Collection[str] | None = None  # of the messages that are sent (before a dot); None: any

    @abstractmethod
    def actor(self, population: int, number: int) -> Actor:
        """One actor, before any step."""

    def begin(self, actors: Sequence[Actor]) -> None:  # noqa: B027
        """What actors have learnt before the first moment, where there is such a thing."""

    def make(
        self, addresses: Sequence[Address], states: Sequence[Mapping[str, Any]] | None = None
    ) -> list[Actor]:
        """These actors, as they begin. states: as they were when these were taken."""
        actors = [self.actor(*address) for address in addresses]
        if states is None:
            self.begin(actors)
        else:
            for actor, state in zip(actors, states, strict=True):
                actor.restore(state)
        return actors

    def first_report(self, address: Address) -> Any:
        """What stands for the report of an actor elsewhere until its first answer."""
        return None

    def fault(self, address: Address, entries: Sequence[Any], report: Any) -> str:
        """What is wrong with entries and a report that came from elsewhere; nothing: ''."""
        return ""


def addresses_of(sizes: Sequence[int]) -> list[Address]:
    return [(number, actor) for number, size in enumerate(sizes) for actor in range(size)]


def parts_of(
    sizes: Sequence[int], count: int, pinned: Mapping[Address, int] | None = None
) -> tuple[list[list[Address]], list[Address]]:
    """The actors of each of `count` parts (processes, nodes), and those in the crew's own process.

    pinned: the part, or HERE, of actors that have a place; all others go round the parts.
    """
    pinned = pinned or {}
    known = set(addresses_of(sizes))
    for address, part in pinned.items():
        if address not in known or part not in range(HERE, count):
            raise ConfigError(
                f"actor {address[1]} of population {address[0]} is pinned to part {part}; "
                f"there are {count} parts and populations of {list(sizes)} actors"
            )
    parts: list[list[Address]] = [[] for _ in range(count)]
    here = [address for address, part in sorted(pinned.items()) if part == HERE]
    for population, number in addresses_of(sizes):
        part = pinned.get((population, number), number % count)
        if part != HERE:
            parts[part].append((population, number))
    return parts, here
