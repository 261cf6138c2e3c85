"""What a federation leaves: its summary, and the lines of its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from understudy.metrics import SummaryHead

Number = float | None  # None where it was not measured
Matrix = Sequence[Sequence[Number]]  # after task i (row), on task j


@dataclass(frozen=True, slots=True)
class SeedMean:
    """A mean over the seeds, with its standard error; one seed has no error."""

    mean: Number
    standard_error: Number


@dataclass(frozen=True, slots=True)
class Traffic:
    """What crossed one client's link, or several: up to the server and down, by kind."""

    floats_up: Mapping[str, int]
    floats_down: Mapping[str, int]
    bytes_up: Mapping[str, int]
    bytes_down: Mapping[str, int]
    fates: Mapping[str, int] = field(default_factory=dict)  # of messages, both ways


@dataclass(frozen=True, slots=True)
class ClientResult:
    """One client at the end; accuracy: mean over its tasks. forgetting, backward_transfer and
    forward_transfer as in understudy.metrics. before: on each task, before any training."""

    client: int
    accuracy: Number
    forgetting: Number
    backward_transfer: Number
    forward_transfer: Number
    matrix: Matrix
    before: Sequence[Number]
    classes: Sequence[Sequence[int]]  # of each task
    train: Sequence[int]  # samples of each task
    test: Sequence[int]
    small: str
    parameters: int
    traffic: Traffic
    events: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FederationResult:
    """One seed's. matrix: of all clients' test samples pooled. refused: what the server did not
    take, by reason; figures: the server's, mean over the clients of the last round."""

    seed: int
    matrix: Matrix
    clients: Sequence[ClientResult]
    refused: Mapping[str, int]
    figures: Mapping[str, Number]


@dataclass(frozen=True, slots=True)
class Users:
    """`user_summary` of the clients of all seeds; weighted: by test samples."""

    weighted: Mapping[str, Number]
    unweighted: Mapping[str, Number]


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One variant. Accuracy and what follows: the mean of a seed over its clients. floats, bytes:
    of all of a federation, both ways, mean over seeds."""

    method: str
    server: str
    accuracy: SeedMean
    pooled: SeedMean  # of all test samples together
    forgetting: SeedMean
    backward_transfer: SeedMean
    forward_transfer: SeedMean
    floats: Number
    bytes: Number
    bytes_up: Number
    bytes_down: Number
    users: Users
    leaves: Sequence[str]  # what leaves a client and what comes back, in plain sentences
    seeds: Sequence[FederationResult]


@dataclass(frozen=True, slots=True)
class FederateSummary(SummaryHead):
    """summary.json. Its head is of the most accurate variant; a user is a client of a seed."""

    best: str
    variants: Mapping[str, VariantResult]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of metrics.jsonl: a round, or an examination.

    terms: of every seed's clients, each part of the loss by name; accuracy: of every seed's clients
    on each task, where examined. floats, bytes: sent so far by each seed's federation, both ways.
    """

    step: int
    variant: str
    act: str  # "begin" (examined, before anything is learnt), "round" or "examine"
    task: int
    round: int
    terms: Sequence[Sequence[Mapping[str, Number]]]
    accuracy: Sequence[Sequence[Sequence[Number]]]
    refused: Sequence[int]
    floats: Sequence[int]
    bytes: Sequence[int]
