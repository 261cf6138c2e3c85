"""The clock of agents."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.actors.records import registered

INITIAL_TASKS = 4  # learnt jointly; also a modular learner's first modules
AGENT_SEED = 1000  # agent i draws by seed + 1000 * i


@registered
@dataclass(frozen=True, slots=True)
class Tick:
    """A moment of the clock. After `epoch` epochs of a task comes a round of some exchanges, each a
    tick; the last of them is followed by `train` epochs (0 for the others)."""

    task: int
    epoch: int
    exchange: int
    train: int
    round: int
