"""When the server and the clients do what. Imports nothing heavy.

all clients examine, before anything is learnt
for each task
    for each round
        the clients that take part train, and send
        the server answers those that take a step next
    all clients examine
"""

from __future__ import annotations

import math

from understudy.federate.settings import FederateConfig
from understudy.federate.turn import Turn

_TURN = 60  # what a draw is for

Moment = list[list[Turn | None]]  # by federation and actor, the server first; None: it waits


def moments_of(config: FederateConfig) -> list[Moment]:
    """What every actor of every seed's federation does at every moment."""
    tracks = [_track(config, seed) for seed in config.seeds]
    return [list(rows) for rows in zip(*tracks, strict=True)]


def participants(config: FederateConfig, seed: int, round_: int) -> tuple[int, ...]:
    """The clients that take part in a round, drawn by the seed and the round alone."""
    everyone = tuple(range(1, config.clients + 1))
    count = math.ceil(config.participation * config.clients)
    if count == config.clients:
        return everyone
    from understudy.actors.generators import generator_of  # numpy, which others do without

    drawn = generator_of(seed, _TURN, round_).permutation(config.clients)[:count]
    return tuple(sorted(int(place) + 1 for place in drawn))


def _track(config: FederateConfig, seed: int) -> list[list[Turn | None]]:
    """One federation's turns: a row for each moment, a column for each actor."""
    everyone = tuple(range(1, config.clients + 1))
    rows = [_clients(config, everyone, Turn("begin", 0, 0))]
    for task in range(config.tasks):
        for turn in range(config.rounds):
            round_, last = task * config.rounds + turn, turn == config.rounds - 1
            here = participants(config, seed, round_)
            rows.append(_clients(config, here, Turn("train", task, round_)))
            examined = last or config.examine_rounds
            to = everyone if examined else participants(config, seed, round_ + 1)
            rows.append([Turn("serve", task, round_, to), *[None] * config.clients])
            if examined:
                rows.append(_clients(config, everyone, Turn("examine", task, round_, last=last)))
    return rows


def _clients(config: FederateConfig, some: tuple[int, ...], turn: Turn) -> list[Turn | None]:
    return [None, *(turn if n in some else None for n in range(1, config.clients + 1))]
