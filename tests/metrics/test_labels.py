"""Macro-F1 and the constant answer, by hand and against the defining counts."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import metrics

LABEL = st.sampled_from(["a", "b", "c"])


def test_macro_f1_by_hand() -> None:
    # spam: 1 hit, 1 named in vain, 1 missed: 2 / 4. ham: 1 hit, 1 missed, 1 in vain: 2 / 4.
    # "other" is named and never right: 0.
    right = ["spam", "spam", "ham", "ham"]
    assert metrics.macro_f1(right, ["spam", "ham", "ham", "spam"]) == pytest.approx(0.5)
    assert metrics.macro_f1(right, ["spam", "ham", "ham", "other"]) == pytest.approx(
        (2 / 3 + 1 / 2 + 0) / 3
    )


def test_an_answer_without_a_label_only_misses() -> None:
    assert metrics.macro_f1(["spam", "ham"], ["spam", None]) == pytest.approx((1 + 0) / 2)


def test_one_label_for_all_gets_little_though_it_is_often_right() -> None:
    right = ["ham"] * 9 + ["spam"]
    assert metrics.constant_accuracy(right) == 0.9
    assert metrics.macro_f1(right, ["ham"] * 10) == pytest.approx((18 / 19 + 0) / 2)


@given(st.lists(st.tuples(LABEL, LABEL | st.none()), min_size=1))
def test_macro_f1_is_the_mean_of_precision_and_recall_s_harmonic_means(
    pairs: list[tuple[str, str | None]],
) -> None:
    scores = []
    for label in {each for pair in pairs for each in pair if each is not None}:
        hits = sum(pair == (label, label) for pair in pairs)
        named = sum(answer == label for _, answer in pairs)
        wanted = sum(right == label for right, _ in pairs)
        precision, recall = hits / named if named else 0, hits / wanted if wanted else 0
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    right, answers = zip(*pairs, strict=True)
    assert metrics.macro_f1(right, answers) == pytest.approx(fmean(scores))


def test_of_nothing_nothing_is_known() -> None:
    assert math.isnan(metrics.macro_f1([], []))
    assert math.isnan(metrics.constant_accuracy([]))
