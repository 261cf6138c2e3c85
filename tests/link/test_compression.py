"""Numbers made smaller and back: errors within a step, right on average, changes by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from understudy.link.compression import (
    dequantised,
    largest_changes,
    packed_places,
    quantised,
    replaced,
    unpacked_places,
)


def test_eight_bits_by_hand() -> None:
    codes, low, step = quantised(torch.tensor([[0.0, 255.0, 100.4], [-1.0, -1.0, -1.0]]))
    assert (codes.dtype, codes.tolist()) == (torch.uint8, [[0, 255, 100], [0, 0, 0]])
    assert (low.tolist(), step.tolist()) == ([0.0, -1.0], [1.0, 0.0])
    assert dequantised(codes, low, step).tolist() == [[0.0, 255.0, 100.0], [-1.0, -1.0, -1.0]]


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 2, 2)])
def test_what_comes_back_is_within_half_a_step_of_its_row(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    codes, low, step = quantised(x)
    rows = shape[0] if len(shape) > 1 else 1
    assert low.shape == step.shape == (rows,)
    off = (dequantised(codes, low, step) - x).abs().reshape(rows, -1).amax(dim=1)
    assert bool((off <= step * 0.5001).all())
    assert bool((off > 0).all())


def test_a_row_does_not_suffer_from_a_wider_one() -> None:
    x = torch.stack([torch.linspace(0, 1e-3, 50), torch.linspace(-1e3, 1e3, 50)])
    off = (dequantised(*quantised(x)) - x).abs()
    assert float(off[0].max()) < 1e-3 / 500


def test_bytes_of_a_picture_come_back_as_they_were() -> None:
    x = torch.arange(256).repeat(2, 1) / 255
    assert torch.allclose(dequantised(*quantised(x)), x, atol=1e-7)


def test_rounded_at_random_it_is_right_on_average() -> None:
    x = torch.tensor([0.0, 0.3, 0.5, 255.0])  # a step is 1
    luck = np.random.default_rng(0)
    found = torch.stack([dequantised(*quantised(x, luck)) for _ in range(4000)])
    assert set(found[:, 1].tolist()) == {0.0, 1.0}
    assert found[:, [0, 3]].unique(dim=0).tolist() == [[0.0, 255.0]]  # what is exact stays so
    assert abs(float(found[:, 1].mean()) - 0.3) < 0.03  # four deviations
    assert abs(float(found[:, 2].mean()) - 0.5) < 0.03


def test_the_same_luck_rounds_alike() -> None:
    x = torch.randn(4, 9)
    one, other = (quantised(x, np.random.default_rng(5))[0] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, quantised(x, np.random.default_rng(6))[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_does_not_become_one(bad: float) -> None:
    x = torch.tensor([[1.0, bad, 2.0], [1.0, 2.0, 3.0]])
    found = dequantised(*quantised(x))
    assert not bool(found[0].isfinite().all())
    assert torch.allclose(found[1], x[1], atol=2 / 255)


def test_the_largest_changes_by_hand() -> None:
    before = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    now = torch.tensor([[1.5, 2.0], [-3.0, 4.1], [5.0, 7.0]])
    assert largest_changes(now, before, 2 / 6).tolist() == [2, 5]
    assert largest_changes(now, before, 0.17).tolist() == [2, 5]  # 1.02 of 6, rounded up
    assert largest_changes(now, before, 1.0).tolist() == [0, 2, 3, 5]  # all that changed
    assert largest_changes(before, before, 1.0).tolist() == []


def test_what_is_no_number_is_sent_until_it_is_mended() -> None:
    before, now = torch.zeros(4), torch.tensor([0.0, float("nan"), 9.0, 0.0])
    assert 1 in largest_changes(now, before, 0.25)
    assert 1 in largest_changes(torch.zeros(4), now, 0.25)


def test_what_is_left_out_is_sent_once_it_has_grown() -> None:
    """One place in four at a time, of weights that no longer move: all of them get across."""
    torch.manual_seed(0)
    now, heard = torch.randn(4, 4), torch.zeros(4, 4)
    for _ in range(4):
        places = largest_changes(now, heard, 0.25)
        heard = replaced(heard, places, now.flatten()[places])
    assert torch.equal(heard, now)


def test_nothing_is_replaced_in_place() -> None:
    before = torch.zeros(2, 2)
    after = replaced(before, torch.tensor([3]), torch.tensor([1.0]))
    assert after.tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert not bool(before.any())


@pytest.mark.parametrize("size", [1, 7, 8, 9, 640])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_places_come_back_in_the_fewest_bytes(size: int, share: float) -> None:
    count = int(size * share)
    places = torch.randperm(size, generator=torch.Generator().manual_seed(1))[:count].sort().values
    packed = packed_places(places, size)
    assert unpacked_places(packed, size).tolist() == places.tolist()
    assert packed.numel() * packed.element_size() == min(4 * count, -(-size // 8))
