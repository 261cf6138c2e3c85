"""One actor, as an engine sees it: a peer, a client or a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from understudy.actors.jobs import Step
from understudy.link.carrier import Inbox

Address = tuple[int, int]  # of an actor: its population, and its number there


class Actor(Protocol):
    @property
    def log(self) -> list[Any]:
        """What it has noted so far: entries of plain values and records, only ever added to."""
        ...

    def step(self, tick: Any, inbox: Inbox) -> Step:
        """One step. tick: what the clock says, a registered record; None is never given."""
        ...

    def state(self) -> dict[str, Any]:
        """All that its steps have changed, its log too; plain values, arrays and records."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` was taken of. It was made by the same factory."""
        ...

    def report(self) -> Any:
        """What it says of itself, asked at any time: plain values or a registered record."""
        ...
