"""Log-probabilities in tiles: those of all logits at once, and never all logits at once."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from understudy.models.logprobs import pair_logprobs

TOKENS, VOCABULARY, HIDDEN, ASK = 11, 29, 6, 17
# A tile of one logit, of part of a row, of some rows' parts, of all but one, of all.
TILES = [1, 10, 3 * TOKENS, TOKENS * VOCABULARY - 1, TOKENS * VOCABULARY]
EACH_TILE = pytest.mark.parametrize("tile", TILES)
SHIFTED = pytest.mark.parametrize(
    ("temperature", "shift"), [(1.0, 0.0), (0.6, 1.5), (1.7, -2.0), (1.0, -math.inf), (0.0, 0.3)]
)


def given(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, a head's weight, and tokens taken: asking is among them."""
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator, dtype=torch.float64)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator, dtype=torch.float64)
    taken = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    taken[:3] = torch.tensor([ASK, 0, VOCABULARY - 1])
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), taken


def plain(
    hidden: Tensor, weight: Tensor, taken: Tensor, temperature: float, shift: float
) -> Tensor:
    scaled = hidden @ weight.T / (temperature or 1.0)
    towards = torch.tensor(shift, dtype=scaled.dtype)  # 0.3 would be rounded to float32
    scaled = scaled + torch.where(torch.arange(len(weight)) == ASK, towards, 0.0)
    logs = scaled.softmax(dim=1).log()
    return torch.stack(
        [torch.stack((row[t], row[ASK])) for row, t in zip(logs, taken, strict=True)]
    )


@EACH_TILE
@SHIFTED
def test_values_equal_a_plain_softmax(tile: int, temperature: float, shift: float) -> None:
    hidden, weight, taken = given()
    expected = plain(hidden, weight, taken, temperature, shift)
    found = pair_logprobs(hidden, weight, taken, ASK, temperature, shift, tile)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@EACH_TILE
@pytest.mark.parametrize(("temperature", "shift"), [(1.0, 0.0), (0.6, 1.5)])
def test_gradients_equal_those_of_a_plain_softmax(
    tile: int, temperature: float, shift: float
) -> None:
    towards = torch.randn(TOKENS, 2, generator=torch.Generator().manual_seed(6)).double()
    found, expected = [], []
    for values, logprobs in ((found, pair_logprobs), (expected, plain)):
        hidden, weight, taken = given()
        how = (ASK, temperature, shift, tile) if logprobs is pair_logprobs else (temperature, shift)
        pairs = logprobs(hidden, weight, taken, *how)
        values += torch.autograd.grad((pairs * towards).sum(), (hidden, weight))
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-11)


@EACH_TILE
def test_a_forbidden_request_leaves_the_gradients_of_the_rest(tile: int) -> None:
    found, expected = [], []
    for values, at_once in ((found, tile), (expected, TILES[-1])):
        hidden, weight, taken = given()
        taken = taken.masked_fill(taken == ASK, 1)
        pairs = pair_logprobs(hidden, weight, taken, ASK, 1.0, -math.inf, at_once)
        assert (pairs[:, 1] == -math.inf).all()
        values += torch.autograd.grad(pairs[:, 0].sum(), (hidden, weight))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    assert (found[1][ASK] == 0).all()


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_what_is_frozen_gets_no_gradient(frozen: str) -> None:
    hidden, weight, taken = given()
    expected = torch.autograd.grad(
        pair_logprobs(hidden, weight, taken, ASK).sum(), (hidden, weight)
    )
    {"hidden": hidden, "weight": weight}[frozen].requires_grad_(False)
    pair_logprobs(hidden, weight, taken, ASK, tile=50).sum().backward()
    for tensor, gradient, name in zip(
        (hidden, weight), expected, ("hidden", "weight"), strict=True
    ):
        if name == frozen:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, gradient)


def test_under_autocast_products_are_rounded_and_sums_are_not() -> None:
    """At a vocabulary where sums in bfloat16 would be off by far more than its rounding."""
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(40, 16, generator=generator)
    weight = torch.randn(5000, 16, generator=generator) / 4
    taken = torch.randint(5000, (40,), generator=generator)
    exact = [x.bfloat16().double().requires_grad_() for x in (hidden, weight)]
    expected = pair_logprobs(*exact, taken, ASK)
    gradients = torch.autograd.grad(expected[:, 0].sum(), exact)
    for tile in (40 * 300, 40 * 5000):
        ours = [x.clone().requires_grad_() for x in (hidden, weight)]
        with torch.autocast("cpu", torch.bfloat16):
            found = pair_logprobs(*ours, taken, ASK, tile=tile)
        assert found.dtype == torch.float32
        # A logit of up to 4 is rounded by at most 1/128; their sum over the vocabulary is not.
        torch.testing.assert_close(found.double(), expected, atol=1.2e-2, rtol=0)
        found[:, 0].sum().backward()
        for tensor, gradient in zip(ours, gradients, strict=True):
            assert tensor.grad is not None
            assert tensor.grad.dtype == torch.float32
            scale = float(gradient.abs().max())
            assert float((tensor.grad - gradient).abs().max()) < 1e-2 * scale


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self.size = max(self.size, value.numel())
        return result


def test_no_more_logits_than_a_tile_exist_in_either_pass() -> None:
    hidden, weight, taken = given()
    for tile in (TOKENS, 5 * TOKENS, 20 * TOKENS):
        with Largest() as largest:
            pair_logprobs(hidden, weight, taken, ASK, tile=tile).sum().backward()
        assert largest.size <= max(tile, weight.numel())
    with Largest() as largest:
        pair_logprobs(hidden, weight, taken, ASK).sum().backward()
    assert largest.size == TOKENS * VOCABULARY  # so the sizes are seen
