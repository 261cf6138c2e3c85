"""All populations through all moments: deliver, step, carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from understudy.actors.crew import Crew, Moment
from understudy.link.carrier import Carrier


def run(
    crew: Crew,
    carriers: Sequence[Carrier],
    moments: Sequence[Moment],
    watch: Callable[[int], None] | None = None,
    start: int = 0,
) -> None:
    """One carrier per population. watch: called after every moment; start: the first moment."""
    for now in range(start, len(moments)):
        moment = moments[now]
        inboxes = [
            carrier.deliver(now, {actor for actor, tick in enumerate(ticks) if tick is not None})
            for carrier, ticks in zip(carriers, moment, strict=True)
        ]
        sent = crew.step(moment, inboxes)
        for carrier, messages in zip(carriers, sent, strict=True):
            carrier.carry(now, messages)
        if watch is not None:
            watch(now)
