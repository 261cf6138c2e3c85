"""The crew of a run on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.actors.actor import Address
from understudy.actors.crew import Crew, together
from understudy.actors.factory import Factory


def crew_of(
    factory: Factory,
    workers: int,
    states: Sequence[Sequence[Mapping[str, Any]]] | None,
    pinned: Mapping[Address, int] | None = None,
) -> Crew:
    """All actors of a factory in this process, or divided among so many; pinned: as Workers has."""
    if workers == 1:
        return together(factory, states)
    from understudy.actors.workers import Workers  # processes, which most runs do without

    return Workers(factory, workers, states, pinned)
