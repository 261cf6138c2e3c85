"""The figures of a finished federation, from what its actors and carriers say in the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from understudy.federate.entries import ActorReport, ClientEntry, ServerEntry
from understudy.federate.methods import METHODS
from understudy.federate.records import (
    ClientResult,
    FederateSummary,
    FederationResult,
    Number,
    SeedMean,
    Traffic,
    Users,
    VariantResult,
)
from understudy.federate.servers import SERVERS
from understudy.federate.settings import FederateConfig
from understudy.federate.turn import SERVER
from understudy.link.carrier import Carrier
from understudy.metrics import continual_summary, quality_over_repeats, user_summary
from understudy.metrics.measured import FloatArray
from understudy.types import Cost


def federation_result(
    config: FederateConfig,
    seed: int,
    reports: Sequence[ActorReport],
    logs: Sequence[Sequence[Any]],
    carrier: Carrier,
) -> FederationResult:
    """One seed's at the end. reports, logs: of the server, then of every client."""
    clients = [
        _client(config, number, reports[number], logs[number], carrier)
        for number in range(1, config.clients + 1)
    ]
    served = [entry for entry in logs[SERVER] if isinstance(entry, ServerEntry)]
    figures = next((entry.figures for entry in reversed(served) if entry.figures), {})
    refused = Counter(refusal.reason for entry in served for refusal in entry.refused)
    return FederationResult(
        seed,
        _plain(pooled([each.matrix for each in clients], [each.test for each in clients])),
        clients,
        dict(sorted(refused.items())),
        {name: _mean(list(values.values())) for name, values in figures.items()},
    )


def _client(
    config: FederateConfig,
    number: int,
    report: ActorReport,
    log: Sequence[Any],
    carrier: Carrier,
) -> ClientResult:
    before, matrix = results_of(config.tasks, log)
    found = continual_summary(matrix, before)
    return ClientResult(
        client=number,
        accuracy=_finite(found["average_accuracy"]),
        forgetting=_finite(found["forgetting"]),
        backward_transfer=_finite(found["backward_transfer"]),
        forward_transfer=_finite(found["forward_transfer"]),
        matrix=_plain(matrix),
        before=[_finite(value) for value in before],
        classes=report.classes,
        train=report.train,
        test=report.test,
        small=report.small,
        parameters=report.parameters,
        traffic=traffic_of(number, carrier),
        events=report.events,
    )


def results_of(tasks: int, log: Sequence[Any]) -> tuple[FloatArray, FloatArray]:
    """(on each task before any training, after task i on task j) of a client's examinations; NaN
    where there was none."""
    before, matrix = np.full(tasks, np.nan), np.full((tasks, tasks), np.nan)
    for entry in log:
        if isinstance(entry, ClientEntry) and entry.act == "begin":
            before[:] = entry.accuracy
        elif isinstance(entry, ClientEntry) and entry.last:
            matrix[entry.task] = entry.accuracy
    return before, matrix


def pooled(matrices: Sequence[Any], test: Sequence[Sequence[int]]) -> FloatArray:
    """Of all clients' test samples together. test: a client's samples of each task."""
    results = np.array(matrices, dtype=np.float64)  # (clients, tasks, tasks)
    weights = np.array(test, dtype=np.float64)[:, None, :] * np.isfinite(results)
    right, count = (np.nan_to_num(results) * weights).sum(axis=0), weights.sum(axis=0)
    return np.asarray(np.where(count > 0, right / np.maximum(count, 1), np.nan))


def traffic_of(client: int, carrier: Carrier) -> Traffic:
    up, down = carrier.traffic[client, SERVER], carrier.traffic[SERVER, client]
    return Traffic(
        dict(up.floats),
        dict(down.floats),
        dict(up.bytes),
        dict(down.bytes),
        dict(up.fates + down.fates),
    )


def summarise(
    variants: Mapping[str, FederateConfig], results: Mapping[str, Sequence[FederationResult]]
) -> FederateSummary:
    """results: of every variant, one for each seed."""
    found = {name: _variant(config, results[name]) for name, config in variants.items()}
    best = max(found, key=lambda name: _known(found[name].accuracy.mean))
    head = found[best]
    clients = [client for seed in head.seeds for client in seed.clients]
    return FederateSummary(
        quality=quality_over_repeats([_over_clients(seed, "accuracy") for seed in head.seeds]),
        cost=Cost(floats=round(head.floats or 0), bytes=round(head.bytes or 0)),
        per_user=tuple(client.accuracy for client in clients),
        best=best,
        variants=found,
    )


def _variant(config: FederateConfig, seeds: Sequence[FederationResult]) -> VariantResult:
    clients = [client for seed in seeds for client in seed.clients]
    accuracy = np.array([client.accuracy for client in clients], dtype=float)
    tested = [sum(client.test) for client in clients]
    last = [np.array(seed.matrix, dtype=float)[-1] for seed in seeds]
    weights = [np.sum([client.test for client in seed.clients], axis=0) for seed in seeds]

    def mean(name: str) -> SeedMean:
        return mean_and_error([_over_clients(seed, name) for seed in seeds])

    def crossed(*names: str) -> float:
        return _crossed(seeds, names)

    return VariantResult(
        method=config.method.kind,
        server=config.serving.kind,
        accuracy=mean("accuracy"),
        pooled=mean_and_error([_weighted(*each) for each in zip(last, weights, strict=True)]),
        forgetting=mean("forgetting"),
        backward_transfer=mean("backward_transfer"),
        forward_transfer=mean("forward_transfer"),
        floats=crossed("floats_up", "floats_down"),
        bytes=crossed("bytes_up", "bytes_down"),
        bytes_up=crossed("bytes_up"),
        bytes_down=crossed("bytes_down"),
        users=Users(
            weighted=user_summary(accuracy, tested),
            unweighted=user_summary(accuracy, tested, weights="none"),
        ),
        leaves=leaves(config),
        seeds=list(seeds),
    )


def leaves(config: FederateConfig) -> list[str]:
    """What leaves a client, and what comes back, in plain sentences."""
    server = SERVERS.load(config.serving.kind)
    sentences = list(METHODS.load(config.method.kind).leaving(config.method))
    if not server.takes or not sentences:
        return ["Nothing leaves a client."]
    back: str = server.comes_back(config.serving)
    bound = (
        ["All training samples lie at client 1: a bound to compare with."] if config.joint else []
    )
    return [*bound, *sentences, *_guarded(config), back]


def _guarded(config: FederateConfig) -> list[str]:
    clip, noise = config.privacy.clip, config.privacy.noise
    if clip is None:
        return []
    drawn = f", with noise of {noise:g} times that on every number" if noise else ""
    return [f"Weights leave as a change of a norm of {clip:g} at most{drawn}."]


def mean_and_error(values: Sequence[float]) -> SeedMean:
    """Over seeds; of one seed there is no error."""
    spread = None
    if len(values) > 1:
        spread = _finite(float(np.std(values, ddof=1) / math.sqrt(len(values))))
    return SeedMean(_finite(float(np.mean(values))), spread)


def _over_clients(seed: FederationResult, name: str) -> float:
    return _known(_mean([getattr(client, name) for client in seed.clients]), math.nan)


def _crossed(seeds: Sequence[FederationResult], names: Sequence[str]) -> float:
    """Of a federation, mean over the seeds."""
    total = sum(
        sum(getattr(client.traffic, name).values())
        for seed in seeds
        for client in seed.clients
        for name in names
    )
    return total / len(seeds)


def _weighted(values: FloatArray, weights: FloatArray) -> float:
    known = np.isfinite(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else math.nan


def _mean(values: Sequence[Number]) -> Number:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None


def _known(value: Number, otherwise: float = -math.inf) -> float:
    return otherwise if value is None or not math.isfinite(value) else value


def _plain(matrix: FloatArray) -> list[list[Number]]:
    return [[_finite(value) for value in row] for row in matrix]


def _finite(value: float) -> Number:
    return float(value) if math.isfinite(value) else None
