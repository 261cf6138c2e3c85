"""The clock of a federation: who does what at a moment. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from understudy.actors.records import registered

CLIENT_SEED = 1000  # client i draws by seed + 1000 * i; the server is number 0
SERVER = 0

Act = Literal["begin", "train", "serve", "examine"]


@registered
@dataclass(frozen=True, slots=True)
class Turn:
    """What an actor does at a moment.

    begin: examine, before anything is learnt. round: counted over the whole run; to: those that the
    server may send to, which take a step next; last: whether the task's last round is behind.
    """

    act: Act
    task: int
    round: int
    to: tuple[int, ...] = ()
    last: bool = False
