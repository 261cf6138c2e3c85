"""All populations through all moments: deliver, step, carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from understudy.link.carrier import Carrier
from understudy.share.crew import Crew, Moment


def run(
    crew: Crew,
    carriers: Sequence[Carrier],
    moments: Sequence[Moment],
    watch: Callable[[int], None] | None = None,
    start: int = 0,
) -> None:
    """One carrier per population. watch is told of every moment that is over; start: the first."""
    for now in range(start, len(moments)):
        moment = moments[now]
        inboxes = [
            carrier.deliver(now, {agent for agent, tick in enumerate(ticks) if tick is not None})
            for carrier, ticks in zip(carriers, moment, strict=True)
        ]
        sent = crew.step(moment, inboxes)
        for carrier, messages in zip(carriers, sent, strict=True):
            carrier.carry(now, messages)
        if watch is not None:
            watch(now)
