"""The figures of a finished run of agents, from what its agents and carriers say in the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

from understudy.link.carrier import Carrier
from understudy.metrics import (
    gain_per_log_cost,
    mean_learning_speed,
    quality_over_repeats,
    relative_gain,
    slope_error,
    user_summary,
    value_of_information,
    well_spread,
)
from understudy.share.agent import Point, Report
from understudy.share.records import (
    AgentResult,
    EdgeTraffic,
    Fit,
    PopulationResult,
    SeedMean,
    ShareSummary,
    Users,
    VariantResult,
    best_of,
)
from understudy.share.reveals import reveals
from understudy.share.settings import ShareConfig
from understudy.share.tick import INITIAL_TASKS
from understudy.share.variants import base_among, crossing
from understudy.types import Cost


def population_result(
    seed: int, reports: Sequence[Report], curves: Sequence[Sequence[Point]], carrier: Carrier
) -> PopulationResult:
    """One population at the end."""
    events = Counter({"no edge": carrier.astray} if carrier.astray else {})
    for report in reports:
        events.update(report.events)
    under_way = carrier.under_way()
    agents = [
        AgentResult(
            accuracy=_finite(float(np.nanmean(report.accuracy))),
            learning_speed=_finite(speed_of(curve)),
            tasks=[_finite(value) for value in report.accuracy],
            modules=report.modules,
        )
        for report, curve in zip(reports, curves, strict=True)
    ]
    edges = [
        EdgeTraffic(
            sender,
            receiver,
            floats=dict(traffic.floats),
            bytes=dict(traffic.bytes),
            fates=dict(traffic.fates + Counter({"under way": under_way[sender, receiver]})),
        )
        for (sender, receiver), traffic in carrier.traffic.items()
    ]
    return PopulationResult(seed, agents, edges, dict(events))


def speed_of(curve: Sequence[Point]) -> float:
    """Learning speed over the tasks after the first, which are learnt jointly. Tasks of which some
    examination is missing, as of an agent that went away, are left out; NaN if all."""
    by_task = [list(points) for _, points in groupby(curve, key=lambda point: point[0])]
    most = max(map(len, by_task), default=0)
    whole = [points for points in by_task[INITIAL_TASKS:] or by_task if len(points) == most]
    if most < 2 or not whole:
        return math.nan
    epochs = [epoch for _, epoch, _ in whole[0]]
    heights = [[seen_mean(accuracy) for _, _, accuracy in points] for points in whole]
    return mean_learning_speed(epochs, heights, first=0)


def seen_mean(accuracy: Sequence[float]) -> float:
    """Of the tasks that were seen: the others are NaN."""
    return float(np.nanmean(accuracy))


def summarise(
    variants: Mapping[str, ShareConfig], populations: Mapping[str, Sequence[PopulationResult]]
) -> ShareSummary:
    """populations: of every variant, one for each seed."""
    bases = {name: base_among(dict(variants), name) for name in variants}
    found = {
        name: _variant(config, populations[name], base, populations[base] if base else ())
        for (name, config), base in zip(variants.items(), bases.values(), strict=True)
    }
    best = found[best_of(found)]
    return ShareSummary(
        quality=quality_over_repeats([_accuracy(seed) for seed in best.seeds]),
        cost=Cost(floats=round(best.floats or 0), bytes=round(best.bytes or 0)),
        per_user=tuple(agent.accuracy for seed in best.seeds for agent in seed.agents),
        variants=found,
        fits=fits(found),
    )


def _variant(
    config: ShareConfig,
    seeds: Sequence[PopulationResult],
    base: str | None,
    alone: Sequence[PopulationResult],
) -> VariantResult:
    """alone: the populations of the base."""
    accuracy = np.array([agent.accuracy for seed in seeds for agent in seed.agents], dtype=float)
    examined = [config.tasks * config.classes_per_task * config.validation_per_class]
    examined *= len(accuracy)
    floats = float(np.mean([_total(edge.floats for edge in seed.edges) for seed in seeds]))
    bytes_ = float(np.mean([_total(edge.bytes for edge in seed.edges) for seed in seeds]))
    edges = np.mean([len(seed.edges) for seed in seeds])
    return VariantResult(
        learner=config.learner,
        shares=crossing(config),
        base=base,
        accuracy=mean_and_error([_accuracy(seed) for seed in seeds]),
        learning_speed=mean_and_error([_learning_speed(seed) for seed in seeds]),
        gain=_gain(seeds, alone),
        floats=floats,
        bytes=bytes_,
        cost=float(floats / (edges * config.tasks_sharing)) if edges else 0.0,
        users=Users(
            weighted=user_summary(accuracy, examined),
            unweighted=user_summary(accuracy, examined, weights="none"),
        ),
        reveals=reveals(config),
        seeds=list(seeds),
    )


def _gain(seeds: Sequence[PopulationResult], alone: Sequence[PopulationResult]) -> SeedMean | None:
    """Over the base with the same seed."""
    base = {seed.seed: seed for seed in alone}
    pairs = [(own, base[own.seed]) for own in seeds if own.seed in base]
    gains = [relative_gain([_accuracy(own)], [_accuracy(other)]) for own, other in pairs]
    return mean_and_error(gains) if gains and all(map(math.isfinite, gains)) else None


def fits(variants: Mapping[str, VariantResult]) -> list[Fit]:
    """Gain on ln(cost), of the variants with one learner that share the same kinds of things, where
    their costs lie far enough apart to say anything."""
    groups: dict[tuple[str, str], dict[str, tuple[float, float, float | None]]] = {}
    for name, each in variants.items():
        if each.gain is not None and each.gain.mean is not None and each.cost:
            group = groups.setdefault((each.learner, "+".join(each.shares)), {})
            group[name] = (each.cost, each.gain.mean, each.gain.standard_error)
    found = []
    for (learner, shares), points in groups.items():
        costs = [cost for cost, _, _ in points.values()]
        if not well_spread(costs):
            continue
        gains = [gain for _, gain, _ in points.values()]
        slope, intercept = gain_per_log_cost(costs, gains)
        errors = [error for _, _, error in points.values() if error is not None]
        error = slope_error(costs, errors) if len(errors) == len(costs) else None
        value = value_of_information(costs, gains)
        found.append(Fit(learner, shares, list(points), slope, intercept, value, error))
    return found


def mean_and_error(values: Sequence[float]) -> SeedMean:
    """Mean and standard error over seeds; of one seed there is no error."""
    spread = None
    if len(values) > 1:
        spread = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    return SeedMean(_finite(float(np.mean(values))), spread)


def _accuracy(seed: PopulationResult) -> float:
    return float(np.mean(np.array([agent.accuracy for agent in seed.agents], dtype=float)))


def _learning_speed(seed: PopulationResult) -> float:
    return float(np.mean(np.array([agent.learning_speed for agent in seed.agents], dtype=float)))


def _total(kinds: Iterable[Mapping[str, int]]) -> int:
    return sum(sum(each.values()) for each in kinds)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
