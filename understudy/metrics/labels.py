"""How well labels are told apart, and what an answer that never changes would get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def macro_f1(right: Sequence[str], named: Sequence[str | None]) -> float:
    """The mean over labels of F1 = 2 TP / (2 TP + FP + FN); every label that is right or named
    counts as one, however rare it is.

    named: an answer per question; None: it names no label, which only misses the right one.
    scikit-learn: f1_score(average="macro"), `labels` being all but the mark for None. NaN without
    questions.
    """
    pairs = list(zip(right, named, strict=True))
    hits = Counter(label for label, answer in pairs if answer == label)
    wanted, given = Counter(right), Counter(answer for answer in named if answer is not None)
    labels = sorted(wanted | given)
    if not labels:
        return float("nan")
    return sum(2 * hits[each] / (wanted[each] + given[each]) for each in labels) / len(labels)


def constant_accuracy(right: Sequence[str]) -> float:
    """The accuracy of always answering the label that is right most often; NaN of none."""
    return max(Counter(right).values()) / len(right) if right else float("nan")
