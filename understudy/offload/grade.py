"""From rows and decisions to a cell of the matrix; nothing else is looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from understudy.metrics import constant_accuracy, deferral_curve, macro_f1, served
from understudy.offload.records import Cell
from understudy.routing.rows import ExaminedQuestion

if TYPE_CHECKING:
    from understudy.routing.evidence import Decisions

SHARES = tuple(round(0.1 * i, 1) for i in range(11))


def grade(
    rows: Sequence[ExaminedQuestion],
    decisions: Decisions,
    own_threshold: float,
    calibrated_threshold: float,
    router_tokens: int = 0,
) -> Cell:
    """One cell. Where a call failed the local answer stands, as when the model serves."""
    margin = np.array([row.margin for row in rows])
    local = np.array([row.local_right for row in rows], dtype=bool)
    known = np.array([row.cloud_right is not None for row in rows], dtype=bool)
    cloud = np.array([bool(row.cloud_right) for row in rows], dtype=bool)
    helped = np.where(known, cloud, local)
    own, fitted = margin > own_threshold, margin > calibrated_threshold
    ask_rate, system = served(local, helped, decisions)
    own_ask_rate, own_system = served(local, helped, own)
    calibrated_ask_rate, calibrated_system = served(local, helped, fitted)
    curve = deferral_curve(margin, local, np.where(known, cloud, np.nan), SHARES)
    return Cell(
        local=float(local.mean()),
        system=system,
        ask_rate=ask_rate,
        cloud=float(cloud[known].mean()) if known.any() else None,
        own_ask_rate=own_ask_rate,
        own_system=own_system,
        calibrated_ask_rate=calibrated_ask_rate,
        calibrated_system=calibrated_system,
        threshold=float(calibrated_threshold),
        curve=tuple(value if math.isfinite(value) else None for value in curve.tolist()),
        questions=len(rows),
        distinct_questions=len({row.digest for row in rows}),
        cloud_answers=int(known.sum()),
        router_tokens=router_tokens,
        **_label_figures(rows),
    )


class _LabelFigures(TypedDict, total=False):
    macro_f1: float
    constant: float
    answers: int


def _label_figures(rows: Sequence[ExaminedQuestion]) -> _LabelFigures:
    """Of a task all of whose questions have a label."""
    right = [row.label for row in rows if row.label is not None]
    if len(right) < len(rows) or not rows:
        return {}
    named = [row.local_label for row in rows]
    return {
        "macro_f1": macro_f1(right, named),
        "constant": constant_accuracy(right),
        "answers": len({each for each in named if each is not None}),
    }
