"""Greedy examination: how good the local model is, when it would ask, and what that gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.clouds import MeteredCloud
from understudy.metrics import deferral_curve, quantile_threshold, random_offloading
from understudy.models.policy import Policy
from understudy.models.sampling import Drawing
from understudy.offload.config import Config
from understudy.offload.method import Serving
from understudy.offload.phases import budget_of
from understudy.offload.team import ALONE, Team
from understudy.tasks import Tasks
from understudy.tasks.stream import Phase
from understudy.types import Problem

_FARTHEST = 1e4  # beyond every lead: asks never, or always; JSON has no infinity
SHARES = tuple(round(0.1 * i, 1) for i in range(11))


@dataclass(frozen=True, slots=True)
class Exam:
    """A row per question: was the local answer right, the cloud's, and how much it wants to ask.

    margin is the largest lead of the request over every other token along the local answer:
    the model would ask at a threshold t exactly when margin > t.
    """

    local_right: NDArray[np.bool_]
    cloud_right: NDArray[np.bool_]
    margin: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Examiner:
    """Where examinations are held: who knows the questions and answers, who helps, who works."""

    tasks: Tasks
    cloud: MeteredCloud
    team: Team = ALONE
    rows: int = 512  # answered at once


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model as a recipe would serve it; shift is the one in force when responses are drawn."""

    policy: Policy
    serving: Serving
    shift: float


def examine(
    policy: Policy, examiner: Examiner, problems: Sequence[Problem], max_completion_length: int
) -> Exam:
    """Answer every problem locally, noting on the way when asking would have come first."""
    local, margins, _ = local_answers(policy, examiner, problems, max_completion_length)
    questions = [problem.question for problem in problems]
    replies = examiner.team.from_leader(lambda: examiner.cloud.replies(questions))
    came = [i for i, reply in enumerate(replies) if reply.error is None]
    helped, texts = np.zeros(len(problems), dtype=bool), [replies[i].text or "" for i in came]
    checked = examiner.team.from_leader(
        lambda: right_answers(examiner.tasks, [problems[i] for i in came], texts)
    )
    helped[came] = checked
    return Exam(local, helped, margins)


def right_answers(
    tasks: Tasks, problems: Sequence[Problem], completions: Sequence[str]
) -> NDArray[np.bool_]:
    """What cannot be decided is not right; `Tasks` counts such checks."""
    verdicts = tasks.check(problems, completions)
    return np.array([verdict is not None and verdict >= 1 for verdict in verdicts], dtype=bool)


def local_answers(
    policy: Policy, examiner: Examiner, problems: Sequence[Problem], max_completion_length: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64], list[str]]:
    """(right, margin for asking, text) of the model's own greedy answers, asking forbidden.

    The team shares the work.
    """
    order = sorted(range(len(problems)), key=lambda i: len(problems[i].prompt))  # less padding
    mine = order[examiner.team.rank :: examiner.team.size]
    found: list[tuple[int, bool, float, str]] = []
    for start in range(0, len(mine), examiner.rows):
        places = mine[start : start + examiner.rows]
        part = [problems[i] for i in places]
        texts, margins = greedy(policy, part, max_completion_length)
        right = right_answers(examiner.tasks, part, texts)
        found += zip(places, right.tolist(), margins.tolist(), texts, strict=True)
    everyone = sorted(row for rows in examiner.team.all_gather(found) for row in rows)
    return (
        np.array([right for _, right, _, _ in everyone], dtype=bool),
        np.array([margin for _, _, margin, _ in everyone]),
        [text for _, _, _, text in everyone],
    )


def greedy(
    policy: Policy, problems: Sequence[Problem], max_completion_length: int
) -> tuple[list[str], NDArray[np.float64]]:
    """(completions, margins for asking), asking forbidden."""
    drawing = Drawing(max_completion_length, temperature=0.0, ask_shift=float("-inf"))
    prompts = policy.prompts([problem.question for problem in problems])
    drawn = policy.sample(prompts, 1, drawing)
    lead = drawn.ask_margins.masked_fill(~drawn.mask, float("-inf")).amax(dim=1)
    return policy.texts(drawn), lead.double().cpu().numpy()


def grade(
    exam: Exam, serving: Serving, shift: float, threshold: float, budget: float
) -> dict[str, Any]:
    """One cell of the matrix: local and system accuracy and ask rate, as the recipe serves it.

    Whatever the recipe, the calibrated figures stand beside its own: methods are compared at
    the same share of calls, and `curve` gives the system's accuracy at every tenth of it.
    """
    local, cloud = exam.local_right, exam.cloud_right
    own, fitted = exam.margin > -shift, exam.margin > threshold
    if serving == "random":
        rate, system = budget, random_offloading(local.mean(), cloud.mean(), budget)
    else:
        asks = fitted if serving == "calibrated" else own & (budget > 0)  # as in training
        if serving == "capped":
            asks = own & (np.cumsum(own) / len(own) <= budget)  # 0.29 * 100 is 28.999...
        rate, system = asks.mean(), np.where(asks, cloud, local).mean()
    return {
        "local": float(local.mean()),
        "system": float(system),
        "ask_rate": float(rate),
        "cloud": float(cloud.mean()),
        "own_ask_rate": float(own.mean()),
        "own_system": float(np.where(own, cloud, local).mean()),
        "calibrated_ask_rate": float(fitted.mean()),
        "calibrated_system": float(np.where(fitted, cloud, local).mean()),
        "threshold": float(threshold),
        "curve": [float(v) for v in deferral_curve(exam.margin, local, cloud, SHARES)],
    }


@dataclass(frozen=True, slots=True)
class Calibration:
    """Validation questions answered locally: what a threshold is fitted to. No call is needed."""

    right: NDArray[np.bool_]
    margin: NDArray[np.float64]

    def threshold(self, budget: float, spare: bool) -> float:
        """The threshold on the margin at which a share `budget` of these questions is asked.

        One standard error less than the budget, since it must hold on questions not yet seen.
        With `spare` no larger share than fails locally: the budget is a bound, not a goal.
        """
        share = budget - math.sqrt(budget * (1 - budget) / len(self.margin))
        if spare:
            share = min(share, 1.0 - float(self.right.mean()))
        fitted = quantile_threshold(self.margin, max(share, 0.0))
        return float(np.clip(fitted, -_FARTHEST, _FARTHEST))


def calibrate(
    policy: Policy, examiner: Examiner, problems: Sequence[Problem], max_completion_length: int
) -> Calibration:
    right, margin, _ = local_answers(policy, examiner, problems, max_completion_length)
    return Calibration(right, margin)


def pooled(calibrations: Sequence[Calibration]) -> Calibration:
    """Several tasks' calibration as one: what a model that serves all of them is fitted to."""
    right = np.concatenate([calibration.right for calibration in calibrations])
    return Calibration(right, np.concatenate([calibration.margin for calibration in calibrations]))


def spares(config: Config) -> bool:
    """Whether less than the budget may be asked."""
    spare: bool = getattr(getattr(config, "price", None), "spare", True)
    return spare


def examine_phase(
    candidate: Candidate, examiner: Examiner, phase: Phase, config: Config, key: str
) -> tuple[Calibration, dict[str, Any]]:
    """A phase's calibration on validation questions, and its cell graded on test questions.

    The shift is added after the temperature, while margins are taken before it.
    """
    longest, budget, policy = (
        config.max_completion_length,
        budget_of(phase, config),
        candidate.policy,
    )
    validation = examiner.tasks.exam(phase, config.calibration_queries, "validation", key)
    calibration = calibrate(policy, examiner, validation, longest)
    threshold = calibration.threshold(budget, spares(config))
    test = examiner.tasks.exam(phase, config.eval_queries, "test", key)
    exam = examine(policy, examiner, test, longest)
    shift = candidate.shift * config.temperature
    return calibration, grade(exam, candidate.serving, shift, threshold, budget)
