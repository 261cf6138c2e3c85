"""The gradient written by hand is that of the plain formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from understudy.share.nets.mixed_layer import mixed_layer


def plain(h: Tensor, weight: Tensor, bias: Tensor, share: Tensor, kept: Tensor) -> Tensor:
    units = torch.einsum("rsi,rnoi->rsno", h, weight) + bias[:, None]
    return (units.relu() * kept * share[..., None]).sum(dim=2)


@pytest.mark.parametrize("modules", [1, 3])
def test_output_and_gradients_are_those_of_the_formula(modules: int) -> None:
    generator = torch.Generator().manual_seed(modules)
    shapes = [(2, 5, 4), (2, modules, 4, 4), (2, modules, 4), (2, 5, modules)]
    inputs = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]
    kept = torch.rand(2, 5, modules, 4, generator=generator) > 0.4
    pull = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    mine, theirs = mixed_layer(*inputs, kept), plain(*inputs, kept)
    torch.testing.assert_close(mine, theirs)
    found = torch.autograd.grad((mine * pull).sum(), inputs)
    expected = torch.autograd.grad((theirs * pull).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_what_needs_no_gradient_gets_none() -> None:
    h, weight, bias, share = (
        torch.rand(shape) for shape in ((1, 2, 3), (1, 1, 3, 3), (1, 1, 3), (1, 2, 1))
    )
    share.requires_grad_()
    out = mixed_layer(h, weight, bias, share, None)
    out.sum().backward()
    assert share.grad is not None
    assert weight.grad is None
