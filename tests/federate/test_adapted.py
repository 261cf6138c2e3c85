"""Per-sample LoRA against a loop over samples, each with an ordinary LoRA of its own."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F

from tests.federate.tiny import foundation
from understudy.federate.adapted import adapted
from understudy.federate.foundations.foundation import Adapter

N, TOKENS, RANK, SCALE = 3, 5, 2, 2.0


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


def small(*shape: int) -> Tensor:
    return (0.1 * torch.randn(*shape)).requires_grad_()


def test_one_layer_by_hand() -> None:
    z = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]]])  # two samples of one token
    a = torch.tensor([[[1.0, 1.0]], [[2.0, 0.0]]])  # A z = 3 and 6
    b = torch.tensor([[[1.0], [0.0]], [[0.0], [-1.0]]])
    found = adapted(torch.zeros(2, 1, 2), z, Adapter(a, b, 0.5))
    assert found.tolist() == [[[1.5, 0.0]], [[0.0, -3.0]]]


def test_a_layer_gives_what_a_loop_over_samples_gives_and_the_same_gradient() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 9)
    z, a, b = drawn(N, TOKENS, 6), drawn(N, RANK, 6), drawn(N, 9, RANK)
    wanted = torch.stack(
        [F.linear(z[i], layer.weight + SCALE * b[i] @ a[i], layer.bias) for i in range(N)]
    )
    found = adapted(layer(z), z, Adapter(a, b, SCALE))
    torch.testing.assert_close(found, wanted)
    weigh = torch.randn_like(wanted)
    expected = torch.autograd.grad((wanted * weigh).sum(), (z, a, b))
    for one, other in zip(
        torch.autograd.grad((found * weigh).sum(), (z, a, b)), expected, strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("blocks", [[1], [0, 2, 3]])
def test_a_frozen_network_gives_what_peft_gives_sample_by_sample(blocks: list[int]) -> None:
    """Forward, and the gradient of every A and B."""
    torch.manual_seed(1)
    frozen, pictures = foundation(), torch.rand(N, 3, 16, 16)
    targets = [frozen.target(block) for block in blocks]
    adapters = {
        target.block: Adapter(
            drawn(N, RANK, target.inputs), small(N, sum(target.outputs), RANK), SCALE
        )
        for target in targets
    }
    inputs = frozen.prepare(pictures)
    found = frozen.features(inputs, adapters)
    weigh = torch.randn_like(found)
    (found * weigh).sum().backward()
    for i in range(N):
        feature, gradients = _by_peft(pictures[i : i + 1], adapters, weigh[i : i + 1], i)
        torch.testing.assert_close(found[i : i + 1], feature, atol=1e-4, rtol=1e-3)
        for block, (a, b) in gradients.items():
            one = adapters[block]
            assert one.a.grad is not None
            assert one.b.grad is not None
            torch.testing.assert_close(one.a.grad[i], a, atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(one.b.grad[i], b, atol=1e-4, rtol=1e-3)


def _by_peft(
    picture: Tensor, adapters: dict[int, Adapter], weigh: Tensor, sample: int
) -> tuple[Tensor, dict[int, tuple[Tensor, Tensor]]]:
    """The feature of one sample with ordinary LoRA, and the gradients of A and B."""
    frozen = foundation()
    targets = {block: frozen.target(block) for block in adapters}
    names = [name for target in targets.values() for name in target.layers]
    config = LoraConfig(r=RANK, lora_alpha=int(SCALE * RANK), target_modules=names)
    wrapped = get_peft_model(frozen.module, config)
    layers = {name: wrapped.get_submodule(f"base_model.model.{name}") for name in names}
    for block, target in targets.items():
        rows = adapters[block].b[sample].detach().split(list(target.outputs))
        for name, part in zip(target.layers, rows, strict=True):
            layers[name].lora_A["default"].weight.data.copy_(adapters[block].a[sample].detach())
            layers[name].lora_B["default"].weight.data.copy_(part)
    wrapped.eval()
    feature = frozen.features(frozen.prepare(picture))
    (feature * weigh).sum().backward()
    gradients = {}
    for block, target in targets.items():
        own = [layers[name] for name in target.layers]
        gradients[block] = (
            torch.stack([each.lora_A["default"].weight.grad for each in own]).sum(dim=0),
            torch.cat([each.lora_B["default"].weight.grad for each in own]),
        )
    return feature.detach(), gradients


def test_only_adapters_get_gradients() -> None:
    frozen = foundation()
    assert not any(each.requires_grad for each in frozen.module.parameters())
    assert not frozen.features(frozen.prepare(torch.rand(2, 3, 16, 16))).requires_grad
