"""Rows of one base that step together: what the engine's loop calls, whichever class computes.

row = lane.open("tiny@3", room=20)      # nothing is read yet
lane.read([(row, prompt[:16])])         # a prompt, piece by piece
states = lane.read([(row, prompt[16:])])
lane.join(row)                          # from now on it reads a token in every pass
token = lane.logits(states, [row]).argmax(dim=1)
lane.read([(row, [token])])
lane.close(row)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from understudy.gateway.engine.adapters import Adapters


class LaneRow:
    """A row in a lane; `read` counts the tokens that it has read, those of a prefix included."""

    version: str
    read: int
    joined: bool


@dataclass(frozen=True, eq=False, slots=True)
class SharedPrefix:
    """What some rows begin with, read once under one version, and kept."""

    version: str
    count: int  # tokens
    kept: Any  # keys and values of all blocks, as its lane holds them
    size: int  # bytes


@dataclass(frozen=True, eq=False, slots=True)
class KeptRow:
    """What one row has read, for its conversation to go on from."""

    version: str
    after: SharedPrefix | None
    count: int  # tokens, those of the prefix included
    kept: Any  # keys and values of its own, of all blocks
    size: int  # bytes of its own


class Lane(Protocol):
    """The rows of one base; each has a version of its own."""

    adapters: Adapters
    shares: bool  # whether prefixes can be kept
    token_size: int  # bytes that a token takes in a row

    def open(
        self, version: str, room: int, after: SharedPrefix | None = None, alone: bool = False
    ) -> Any:
        """A row that is to read about so many tokens before it joins, after a prefix perhaps.

        alone: no other row is likely to follow that prefix beside it.
        """
        ...

    def read(self, work: Sequence[tuple[Any, Sequence[int]]]) -> Tensor:
        """Let rows read tokens; gives the final states (rows, ...) of their last ones.

        Every row that has joined is there with one token, others with any number.
        """
        ...

    def join(self, row: Any) -> None:
        """From now on a row steps with the others."""
        ...

    def close(self, row: Any) -> None:
        """Forget a row."""
        ...

    def clear(self) -> None:
        """Forget all rows, after a pass that failed."""
        ...

    def keep(self, row: Any) -> SharedPrefix:
        """What a row has read, for others to begin with."""
        ...

    def keep_row(self, row: Any) -> KeptRow:
        """What a row has read, for itself to go on from later."""
        ...

    def resume(self, kept: KeptRow, count: int, room: int) -> Any:
        """A row that has read the first so many tokens of a kept one, and is to read about so many
        more before it joins."""
        ...

    def logits(self, states: Tensor, rows: Sequence[Any]) -> Tensor:
        """Logits (rows, vocabulary) of some rows' states, in float32; the caller's own."""
        ...
