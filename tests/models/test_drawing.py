"""Drawing from a distribution: the plain inverse of its cumulated sum, in blocks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from understudy.models.drawing import choose, first_reached

SMALLEST = 2.0**-53  # of the uniform numbers in (0, 1]
UNIFORM = st.one_of(st.floats(SMALLEST, 1.0), st.sampled_from([SMALLEST, 0.5, 1.0]))


def weights_of(vocabulary: int, spread: float, seed: int) -> Tensor:
    """(1, vocabulary), from even to all on one token, exact zeros among them, the largest 1."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, vocabulary, generator=generator) * spread
    logits[torch.rand(1, vocabulary, generator=generator) < 0.1] = -math.inf
    logits[0, seed % vocabulary] = 0.0
    return (logits - logits.max()).exp()


def plain(weights: Tensor, uniform: float) -> tuple[int, float]:
    """The inverse of the sum cumulated in float64, and how near a border the number fell."""
    reached = weights[0].double().cumsum(0)
    target = uniform * reached[-1]
    near = float((reached - target).abs().min() / reached[-1])
    return int(torch.searchsorted(reached, target)), near


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.sampled_from([0.1, 1.0, 6.0, 40.0]), st.integers(0, 999), UNIFORM)
def test_the_token_is_that_of_the_plain_inverse(
    vocabulary: int, spread: float, seed: int, uniform: float
) -> None:
    weights = weights_of(vocabulary, spread, seed)
    expected, near = plain(weights, uniform)
    found = int(first_reached(weights, torch.tensor([uniform], dtype=torch.float64)))
    assert weights[0, found] > 0
    if near > 1e-9:
        assert found == expected


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 400),
    st.sampled_from([0.1, 1.0, 6.0, 40.0]),
    st.integers(0, 999),
    st.integers(1, 300),
    UNIFORM,
)
def test_where_blocks_begin_changes_nothing(
    vocabulary: int, spread: float, seed: int, ahead: int, uniform: float
) -> None:
    """Tokens without weight put in front move every border of a block: exactly the same token."""
    weights, number = weights_of(vocabulary, spread, seed), torch.tensor([uniform]).double()
    moved = torch.cat((torch.zeros(1, ahead), weights), dim=1)
    assert int(first_reached(moved, number)) == ahead + int(first_reached(weights, number))


def test_borders_worked_by_hand() -> None:
    """Half, nothing, a quarter, a quarter; a number on a border belongs to the token before it."""
    weights = torch.tensor([[1.0, 0.0, 0.5, 0.5, 0.0]])
    numbers = [SMALLEST, 0.25, 0.5, 0.5 + 2**-40, 0.75, 0.75 + 2**-40, 1.0]
    rows = weights.expand(len(numbers), -1)
    found = first_reached(rows, torch.tensor(numbers, dtype=torch.float64))
    assert found.tolist() == [0, 0, 0, 2, 2, 3, 3]


def test_a_large_vocabulary() -> None:
    vocabulary, rows = 151_936, 60
    weights = weights_of(vocabulary, 3.0, 1).expand(rows, -1)
    numbers = torch.rand(rows, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = first_reached(weights, numbers).tolist()
    assert found == [plain(weights[:1], number)[0] for number in numbers.tolist()]
    assert len(set(found)) > 10
    even = torch.ones(1, 500_000)
    last = first_reached(even, torch.ones(1, dtype=torch.float64))
    assert int(last) == 499_999


@pytest.mark.parametrize("uniforms", [None, torch.tensor([0.3, 0.3], dtype=torch.float64)])
def test_a_row_of_nan_is_noted_as_such_and_disturbs_nobody(uniforms: Tensor | None) -> None:
    """The loop finds out by the log-probabilities; the token is at least one of the vocabulary."""
    logits = torch.randn(2, 300, generator=torch.Generator().manual_seed(0))
    alone = None if uniforms is None else uniforms[1:]
    expected = choose(logits[1:].clone(), 2, 1.0, 0.0, alone)
    logits[0, 7] = math.nan
    tokens, noted = choose(logits, 2, 1.0, 0.0, uniforms)
    assert 0 <= int(tokens[0]) < 300
    assert noted[:, 0].isnan().all()
    assert tokens[1:].equal(expected[0])
    torch.testing.assert_close(noted[:, 1:], expected[1])


def test_what_is_noted_worked_by_hand() -> None:
    """Probabilities 1/2, 1/4, 1/4 of tokens 0, 1, 2; token 1 asks."""
    logits = torch.tensor([[math.log(4.0), math.log(2.0), math.log(2.0)]])
    tokens, noted = choose(logits, 1, 1.0, 0.0, torch.tensor([0.9], dtype=torch.float64))
    assert tokens.tolist() == [2]
    expected = [math.log(0.25), math.log(0.25), -math.log(2.0), 1.5 * math.log(2.0)]
    assert noted[:, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_frequencies_over_a_large_vocabulary() -> None:
    """Chi-square against the softmax in float64, tokens pooled to 60 parts of like probability."""
    vocabulary, rows, times = 49_152, 20, 100
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(0)) * 3
    chances = logits.double().softmax(dim=0)
    order = chances.argsort(descending=True)
    part = torch.empty(vocabulary, dtype=torch.long)
    part[order] = (chances[order].cumsum(dim=0) * 60).long().clamp(max=59)
    generator = torch.Generator().manual_seed(1)
    observed = torch.zeros(60, dtype=torch.double)
    for _ in range(times):
        uniforms = 1 - torch.rand(rows, dtype=torch.float64, generator=generator)
        tokens, noted = choose(logits.repeat(rows, 1), 2, 1.0, 0.0, uniforms)
        observed += torch.bincount(part[tokens], minlength=60)
        torch.testing.assert_close(noted[0], chances[tokens].log().float(), atol=2e-5, rtol=1e-5)
    expected = torch.zeros(60, dtype=torch.double).index_add_(0, part, chances) * rows * times
    held = expected > 0
    assert int(held.sum()) > 20
    chi_square = float(((observed - expected)[held] ** 2 / expected[held]).sum())
    freedom = int(held.sum()) - 1
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)
