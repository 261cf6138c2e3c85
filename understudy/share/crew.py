"""Who takes the steps of all agents: one process here, several, or machines far apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from understudy.link.carrier import Inbox, Message
from understudy.share.agent import Agent, Point
from understudy.share.engine import grant
from understudy.share.wishes import Tick

Moment = Sequence[Sequence[Tick | None]]  # by population and agent; None: it is busy or away
Inboxes = Sequence[Mapping[int, Inbox]]


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent says of itself in the end."""

    accuracy: list[float]  # of each task, when last examined
    modules: int
    events: dict[str, int]  # what was wrong with messages, and how often


class Crew(Protocol):
    """Everything by population (one per seed), then by agent."""

    def step(self, moment: Moment, inboxes: Inboxes) -> list[list[Message]]:
        """One step of every agent that has a tick; what they send, by population."""

    def curves(self) -> list[list[list[Point]]]:
        """Every examination so far."""

    def reports(self) -> list[list[Report]]: ...

    def states(self) -> list[list[dict[str, Any]]]: ...

    def restore(self, states: Sequence[Sequence[dict[str, Any]]]) -> None: ...

    def close(self) -> None: ...


class Together:
    """All agents in this process: what they wish for alike is computed together."""

    def __init__(self, populations: Sequence[Sequence[Agent]]) -> None:
        self.populations = populations

    def step(self, moment: Moment, inboxes: Inboxes) -> list[list[Message]]:
        places, steps = [], []
        for number, (agents, ticks, inbox) in enumerate(
            zip(self.populations, moment, inboxes, strict=True)
        ):
            for agent, tick in zip(agents, ticks, strict=True):
                if tick is not None:
                    places.append(number)
                    steps.append(agent.step(tick, inbox[agent.number]))
        sent: list[list[Message]] = [[] for _ in self.populations]
        for number, outbox in zip(places, grant(steps), strict=True):
            sent[number] += outbox
        return sent

    def curves(self) -> list[list[list[Point]]]:
        return [[agent.curve for agent in agents] for agents in self.populations]

    def reports(self) -> list[list[Report]]:
        return [[report_of(agent) for agent in agents] for agents in self.populations]

    def states(self) -> list[list[dict[str, Any]]]:
        return [[agent.state() for agent in agents] for agents in self.populations]

    def restore(self, states: Sequence[Sequence[dict[str, Any]]]) -> None:
        for agents, kept in zip(self.populations, states, strict=True):
            for agent, state in zip(agents, kept, strict=True):
                agent.restore(state)

    def close(self) -> None: ...


def report_of(agent: Agent) -> Report:
    events = {f"{what}: {kind}": count for (what, kind), count in sorted(agent.events.items())}
    return Report(agent.accuracy.tolist(), agent.learner.modules, events)
