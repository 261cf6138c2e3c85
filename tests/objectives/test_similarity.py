"""Which task or instance is worth having, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.objectives import class_overlap, largest_remainder, leep, nearest, query_scores


@pytest.mark.parametrize(
    ("mine", "theirs", "overlap"),
    [({1, 2}, {1, 2}, 1.0), ({1, 2}, {2, 3}, 1 / 3), ({1}, {2}, 0.0), (set(), set(), 0.0)],
)
def test_overlap(mine: set[int], theirs: set[int], overlap: float) -> None:
    assert class_overlap(mine, theirs) == overlap


def test_leep_by_hand() -> None:
    # P(y,z): y=0 (.45, .05), y=1 (.1, .4); P(z): .55, .45.
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    labels = torch.tensor([4, 4, 7, 7])
    right = 0.45 / 0.55 * 0.9 + 0.05 / 0.45 * 0.1, 0.1 / 0.55 * 0.2 + 0.4 / 0.45 * 0.8
    expected = (math.log(right[0]) + math.log(right[1])) / 2
    assert leep(probabilities, labels) == pytest.approx(expected)


def test_leep_is_nothing_lost_where_the_other_model_tells_all_apart() -> None:
    labels = torch.tensor([0, 1, 2, 2])
    assert leep(torch.eye(3)[labels], labels) == pytest.approx(0.0)
    assert leep(torch.eye(3)[[2, 0, 1, 1]], labels) == pytest.approx(0.0)  # under other names


def test_leep_of_a_model_that_sees_nothing_is_the_entropy_of_the_labels() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert leep(torch.full((4, 5), 0.2), labels) == pytest.approx(-entropy)


def test_the_nearest_by_direction_not_by_length() -> None:
    candidates = torch.tensor([[0.0, 9.0], [1.0, 0.1], [5.0, 0.0], [10.0, 0.0]])
    found = nearest(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), candidates, 3)
    assert found.tolist() == [[2, 3, 1], [0, 1, 2]]
    assert nearest(torch.ones(1, 2), candidates, 9).shape == (1, 4)


def test_scores_of_need_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log()
    labels = torch.tensor([1, 2])

    def scores(kind: str) -> list[float]:
        return query_scores(logits, labels, kind).tolist()  # type: ignore[arg-type]

    assert scores("cross_entropy") == pytest.approx([-math.log(0.3), -math.log(0.8)])
    assert scores("least_confidence") == pytest.approx([0.5, 0.2])
    assert scores("margin") == pytest.approx([-0.2, -0.7])
    entropies = [-sum(p * math.log(p) for p in row) for row in ((0.5, 0.3, 0.2), (0.1, 0.1, 0.8))]
    assert scores("entropy") == pytest.approx(entropies)


@pytest.mark.parametrize("kind", ["cross_entropy", "least_confidence", "margin", "entropy"])
def test_one_class_leaves_no_doubt(kind: str) -> None:
    score = query_scores(torch.tensor([[3.0]]), torch.tensor([0]), kind)  # type: ignore[arg-type]
    assert score.tolist() == pytest.approx([0.0])


@pytest.mark.parametrize(
    ("worth", "total", "shares"),
    [
        ([0.5, 0.3, 0.2], 10, [5, 3, 2]),
        ([1, 1, 1], 20, [7, 7, 6]),
        ([0.0, 1.0], 5, [0, 5]),
        ([0.0, 0.0], 5, [3, 2]),
        ([], 5, []),
        ([2.0, 1.0], 0, [0, 0]),
    ],
)
def test_whole_shares(worth: list[float], total: int, shares: list[int]) -> None:
    assert largest_remainder(worth, total) == shares


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.integers(0, 500))
def test_shares_add_up_and_are_within_one_of_exact(worth: list[float], total: int) -> None:
    shares = largest_remainder(worth, total)
    assert sum(shares) == total
    if sum(worth) > 0:
        for share, weight in zip(shares, worth, strict=True):
            assert abs(share - weight * total / sum(worth)) < 1 + 1e-6
