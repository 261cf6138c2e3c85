"""What the actors of a federation note, and say of themselves in the end."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.actors.records import registered
from understudy.federate.turn import Act


@registered
@dataclass(frozen=True, slots=True)
class ClientEntry:
    """A round's training, or an examination.

    terms: of the loss, mean over the round's steps; accuracy: of every task, where examined; last:
    whether the task's last round was behind.
    """

    act: Act
    task: int
    round: int
    terms: dict[str, float]
    accuracy: list[float]
    last: bool = False


@registered
@dataclass(frozen=True, slots=True)
class Refusal:
    client: int  # from which it came
    kind: str
    reason: str


@registered
@dataclass(frozen=True, slots=True)
class ServerEntry:
    """What was made of a round. figures: by name and client."""

    task: int
    round: int
    accepted: list[int]
    refused: list[Refusal]
    figures: dict[str, dict[int, float]]


@registered
@dataclass(frozen=True, slots=True)
class ActorReport:
    """Of a client: the classes of each task, how many samples it trains on and tests with, and its
    small network. events: messages that could not be used, and how often."""

    events: dict[str, int]
    classes: list[list[int]]
    train: list[int]
    test: list[int]
    small: str = ""
    parameters: int = 0  # that are trained


Entry = ClientEntry | ServerEntry
