"""What a run of agents leaves: its summary, and the lines of its log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from understudy.metrics import SummaryHead

Number = float | None  # None where it was not measured


@dataclass(frozen=True, slots=True)
class SeedMean:
    """A mean over the seeds, with its standard error; one seed has no error."""

    mean: Number
    standard_error: Number


@dataclass(frozen=True, slots=True)
class AgentResult:
    """An agent at the end; tasks: its accuracy on each, whose mean is `accuracy`."""

    accuracy: Number
    learning_speed: Number = None
    tasks: Sequence[Number] = ()
    modules: int | None = None


@dataclass(frozen=True, slots=True)
class EdgeTraffic:
    """What was sent along one direction of a link, by kind of message, and what became of it."""

    sender: Annotated[int, Field(alias="from")]
    receiver: Annotated[int, Field(alias="to")]
    floats: Mapping[str, int]
    bytes: Mapping[str, int]
    fates: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PopulationResult:
    """The population of one seed at the end; events: messages that could not be used."""

    seed: int
    agents: Sequence[AgentResult]
    edges: Sequence[EdgeTraffic]
    events: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Users:
    """`user_summary` of the agents of all seeds; weighted: by validation instances."""

    weighted: Mapping[str, Number]
    unweighted: Mapping[str, Number]


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One variant. floats, bytes: what a population sent, mean over the seeds."""

    learner: str
    shares: Sequence[str]
    base: str | None  # the variant of the same learner that shares nothing
    accuracy: SeedMean
    learning_speed: SeedMean
    gain: SeedMean | None  # percent over the base
    floats: Number
    bytes: Number
    cost: Number  # floats per edge and task in which agents may share
    users: Users
    reveals: Sequence[str]
    seeds: Sequence[PopulationResult]


def best_of(variants: Mapping[str, VariantResult]) -> str:
    """The name of the most accurate; the first of several, or of all where none has a figure."""

    def known(name: str) -> float:
        mean = variants[name].accuracy.mean
        return -math.inf if mean is None or math.isnan(mean) else mean

    return max(variants, key=known)


@dataclass(frozen=True, slots=True)
class Fit:
    """Gain on ln(cost), over the variants of one learner that share the same kinds of things.

    slope_error: its standard error, by those of the gains; None of one seed.
    """

    learner: str
    shares: str
    variants: Sequence[str]
    slope: Number
    intercept: Number
    value_of_information: Number
    slope_error: Number = None

    @property
    def name(self) -> str:
        return f"{self.learner}, {self.shares}"


@dataclass(frozen=True, slots=True)
class ShareSummary(SummaryHead):
    """summary.json. Its head is of the most accurate variant; a user is an agent of a seed."""

    variants: Mapping[str, VariantResult]
    fits: Sequence[Fit]


@dataclass(frozen=True, slots=True)
class Examination:
    """A line of metrics.jsonl; accuracy, current: of every seed's agents."""

    step: int
    variant: str
    task: int
    epoch: int
    accuracy: Sequence[Sequence[Number]]  # mean over the tasks seen so far
    current: Sequence[Sequence[Number]]
    floats: Sequence[int]  # sent so far by each seed's population
    bytes: Sequence[int]
