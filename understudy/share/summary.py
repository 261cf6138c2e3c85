"""The figures of a finished run of agents, from what its agents and carriers say in the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from understudy.link.carrier import Carrier
from understudy.metrics import (
    gain_per_log_cost,
    mean_learning_speed,
    relative_gain,
    user_summary,
    value_of_information,
)
from understudy.share.agent import Point, Report
from understudy.share.reveals import reveals
from understudy.share.settings import ShareConfig
from understudy.share.tick import INITIAL_TASKS
from understudy.share.variants import base_among, crossing

Record = dict[str, Any]


def seed_record(
    seed: int, reports: Sequence[Report], curves: Sequence[Sequence[Point]], carrier: Carrier
) -> Record:
    """One population in the end."""
    events = Counter({"no edge": carrier.astray} if carrier.astray else {})
    for report in reports:
        events.update(report.events)
    under_way = carrier.under_way()
    return {
        "seed": seed,
        "agents": [
            {
                "accuracy": _plain(float(np.nanmean(report.accuracy))),
                "learning_speed": _plain(speed_of(curve)),
                "tasks": [_plain(value) for value in report.accuracy],
                "modules": report.modules,
            }
            for report, curve in zip(reports, curves, strict=True)
        ],
        "edges": [
            {
                "from": sender,
                "to": receiver,
                "floats": dict(traffic.floats),
                "bytes": dict(traffic.bytes),
                "fates": dict(traffic.fates + Counter({"under way": under_way[sender, receiver]})),
            }
            for (sender, receiver), traffic in carrier.traffic.items()
        ],
        "events": dict(events),
    }


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
    variants: Mapping[str, ShareConfig], records: Mapping[str, Sequence[Record]]
) -> Record:
    """summary.json. records: of every variant, one for each seed."""
    found = {
        name: _variant(config, records[name], base_among(dict(variants), name))
        for name, config in variants.items()
    }
    for each in found.values():
        base_seeds = found[each["base"]]["seeds"] if each["base"] else []
        alone = {seed["seed"]: seed for seed in base_seeds}
        pairs = [(own, alone[own["seed"]]) for own in each["seeds"] if own["seed"] in alone]
        gains = [relative_gain([_accuracy(own)], [_accuracy(base)]) for own, base in pairs]
        each["gain"] = mean_and_error(gains) if gains and all(map(math.isfinite, gains)) else None
    return {"variants": found, "fits": fits(found)}


def _variant(config: ShareConfig, seeds: Sequence[Record], base: str | None) -> Record:
    agents = [agent for seed in seeds for agent in seed["agents"]]
    accuracy = [agent["accuracy"] for agent in agents]
    examined = [config.tasks * config.classes_per_task * config.validation_per_class] * len(agents)
    floats, bytes_ = ([_total(seed, key) for seed in seeds] for key in ("floats", "bytes"))
    edges = np.mean([len(seed["edges"]) for seed in seeds])
    return {
        "learner": config.learner,
        "shares": crossing(config),
        "base": base,
        "accuracy": mean_and_error([_accuracy(seed) for seed in seeds]),
        "learning_speed": mean_and_error([_mean(seed, "learning_speed") for seed in seeds]),
        "gain": None,
        "floats": float(np.mean(floats)),
        "bytes": float(np.mean(bytes_)),
        "cost": float(np.mean(floats) / (edges * config.tasks_sharing)) if edges else 0.0,
        "users": {
            "weighted": user_summary(accuracy, examined),
            "unweighted": user_summary(accuracy, examined, weights="none"),
        },
        "reveals": reveals(config),
        "seeds": list(seeds),
    }


def fits(variants: Mapping[str, Record]) -> list[Record]:
    """Gain on ln(cost), of the variants with one learner that share the same kinds of things."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, each in variants.items():
        if each["gain"] is not None and each["cost"] > 0:
            groups.setdefault((each["learner"], "+".join(each["shares"])), []).append(name)
    found = []
    for (learner, shares), names in groups.items():
        costs = [variants[name]["cost"] for name in names]
        gains = [variants[name]["gain"]["mean"] for name in names]
        if len(set(costs)) < 2:
            continue
        slope, intercept = gain_per_log_cost(costs, gains)
        found.append(
            {
                "learner": learner,
                "shares": shares,
                "variants": names,
                "slope": slope,
                "intercept": intercept,
                "value_of_information": value_of_information(costs, gains),
            }
        )
    return found


def mean_and_error(values: Sequence[float]) -> Record:
    """Mean and standard error over seeds; of one seed there is no error."""
    spread = None
    if len(values) > 1:
        spread = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "standard_error": spread}


def _accuracy(seed: Record) -> float:
    return _mean(seed, "accuracy")


def _mean(seed: Record, key: str) -> float:
    return float(np.mean([agent[key] for agent in seed["agents"]]))


def _total(seed: Record, key: str) -> int:
    return sum(sum(edge[key].values()) for edge in seed["edges"])


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
