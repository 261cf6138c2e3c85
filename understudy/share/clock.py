"""When agents do what: their ticks, in step or each at a pace of its own. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import product

from understudy.share.modes import Schedule
from understudy.share.settings import ShareConfig
from understudy.share.tick import AGENT_SEED, Tick

_PACE = 40  # what a draw is for

Moment = list[list[Tick | None]]  # by population and agent; None: it is busy or away


def clock(
    config: ShareConfig, sections: Collection[Schedule], tasks: Sequence[int] | None = None
) -> list[Tick]:
    """Every tick of these tasks, by themselves all that agents do not have in common: rounds at the
    epochs at which any mode may open or accuracy is taken."""
    if tasks is None:
        tasks = range(config.tasks_in_common, config.tasks)
    found = [schedule.period for schedule in config.sections().values()]
    periods = [config.evaluate_every, *(period for period in found if period is not None)]
    starts = [e for e in range(config.epochs) if any(e % period == 0 for period in periods)]
    spans = list(zip(starts, [*starts[1:], config.epochs], strict=True))
    ticks: list[Tick] = []
    for round_, (task, (epoch, end)) in enumerate(product(tasks, spans)):
        opening = Tick(task, epoch, 0, 0, round_)
        exchanges = max((each.exchanges for each in sections if each.opens(opening)), default=1)
        ticks += [replace(opening, exchange=exchange) for exchange in range(exchanges)]
        ticks[-1] = replace(ticks[-1], train=end - epoch)
    return ticks


def moments_of(config: ShareConfig) -> list[Moment]:
    """What every agent does at every moment. In step: all the same. At paces of their own: an
    agent's rounds take it up to `slowest` times as long; agents that have ended still answer."""
    ticks = clock(config, config.sections().values())
    if config.slowest == 1:
        return [[[tick] * config.agents] * len(config.seeds) for tick in ticks]
    paces = [
        [_pace(config, seed + AGENT_SEED * number) for number in range(config.agents)]
        for seed in config.seeds
    ]
    length = max(int(pace * (len(ticks) - 1)) for row in paces for pace in row) + 1
    tracks = [[_track(ticks, pace, length) for pace in row] for row in paces]
    return [[[track[now] for track in row] for row in tracks] for now in range(length)]


def _pace(config: ShareConfig, seed: int) -> float:
    from understudy.actors.generators import generator_of  # numpy, which agents in step do without

    return 1 + (config.slowest - 1) * float(generator_of(seed, _PACE).random())


def _track(ticks: Sequence[Tick], pace: float, length: int) -> list[Tick | None]:
    """One agent's ticks, each at its own moment; then it only listens."""
    ended = replace(ticks[-1], exchange=ticks[-1].exchange + 1, train=0)
    track: list[Tick | None] = [None] * length
    for number, tick in enumerate(ticks):
        track[int(pace * number)] = tick
    for now in range(int(pace * (len(ticks) - 1)) + 1, length):
        track[now] = ended
    return track
