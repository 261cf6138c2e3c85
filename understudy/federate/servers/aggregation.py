"""The seam of servers: what becomes of the uploads of a round. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from understudy.actors.records import registered
from understudy.settings import KindSection

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.actors.jobs import Job
    from understudy.federate.methods.method import Common, Method

Arrays = Mapping[str, "Tensor"]
Answers = Mapping[int, Mapping[str, Arrays]]  # by client and kind of message
Figures = dict[str, dict[int, float]]  # by name and client


@registered
@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """What one client sent of one round, as it was accepted. samples: that it trained on."""

    round: int
    samples: int
    kinds: dict[str, dict[str, Any]]


class Aggregation:
    """Nothing comes back: subclass it. An attribute that a checkpoint must keep is named in
    `remembered`."""

    class Settings(KindSection):
        """There is nothing to set."""

    remembered: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[bool] = False  # whether clients send it anything

    def __init__(self, settings: Any, method: type[Method], common: Common) -> None:
        self.settings, self.method, self.common = settings, method, common
        self.figures: Figures = {}  # of the last round
        self.round = 0  # that is served

    def answers(self, uploads: Mapping[int, Upload]) -> Generator[Job, Any, Answers]:
        """What goes back to which client, of the uploads of one round, by client. It may wait for
        jobs."""
        yield from ()
        return {}

    @classmethod
    def comes_back(cls, settings: Any) -> str:
        """What a client gets, in a plain sentence."""
        return "The server does nothing."

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.remembered}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
