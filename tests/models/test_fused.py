"""Layers joined and cast, in drawing and in training, against peft's own forward pass."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.small import questions, write_checkpoint
from understudy.models.fused import Fused, Trained, fused
from understudy.models.lora import Lora
from understudy.models.policy import Policy
from understudy.models.product import Product, can_pack
from understudy.models.sampling import Completions, Drawing, Prompts

TARGETS = [(), ("q_proj", "v_proj"), ("up_proj", "down_proj")]


def adapted(folder: Path, kind: str, targets: tuple[str, ...]) -> Policy:
    lora = Lora(rank=3, alpha=5, targets=targets)
    policy = Policy.load(str(write_checkpoint(folder, kind)), lora=lora)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in policy.network.named_parameters():
            if "lora_B" in name:  # which begins at zero
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return policy


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("targets", TARGETS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["as kept", "cast"])
@torch.no_grad()
def test_joined_layers_give_what_peft_gives(
    dtype: torch.dtype, kind: str, targets: tuple[str, ...], tmp_path: Path
) -> None:
    """In types so wide that nothing but the order of sums differs."""
    policy = adapted(tmp_path, kind, targets)
    block = policy.network.blocks[0]  # type: ignore[index, union-attr]
    for name, width in (("qkv", 32), ("o_proj", 32), ("gate_up", 32), ("down_proj", 48)):
        layer, x = getattr(block, name), torch.randn(4, 2, width)
        parts = list(layer.children()) if name in ("qkv", "gate_up") else [layer]
        expected = torch.cat([part(x) for part in parts], dim=-1)
        found = Fused(layer, dtype)(x)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [4, 40], ids=["as they are", "packed"])
def test_drawing_leaves_the_layers_as_they_were(length: int, tmp_path: Path) -> None:
    policy = replace(adapted(tmp_path, "qwen2", ()), bf16=True)
    names = [name for name, _ in policy.network.named_modules()]
    before = {name: tensor.clone() for name, tensor in policy.network.state_dict().items()}
    wanted = [weight.requires_grad for weight in policy.network.parameters()]
    prompts = policy.prompts(questions("Tom has 3 pens.", "fox"))
    drawing = Drawing(length, ask_shift=float("-inf"))
    drawn = policy.sample(prompts, 2, drawing, drawing.uniforms(4, 0))
    assert [name for name, _ in policy.network.named_modules()] == names
    assert [weight.requires_grad for weight in policy.network.parameters()] == wanted
    after = policy.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    scored, _ = policy.score(prompts, drawn, torch.arange(4), drawing)
    found = drawn.logprobs[drawn.mask]
    assert float((scored.detach()[drawn.mask] - found).abs().max()) < 0.15  # what bfloat16 rounds
    joined = fused(policy.network, torch.bfloat16, 1)  # type: ignore[arg-type]
    with torch.no_grad(), pytest.raises(ZeroDivisionError), joined:
        raise ZeroDivisionError
    assert [name for name, _ in policy.network.named_modules()] == names


@pytest.mark.skipif(not can_pack(torch.device("cpu"), torch.bfloat16), reason="needs bfloat16")
@pytest.mark.parametrize("rows", [1, 8, 100])
@pytest.mark.parametrize("biased", [False, True])
def test_packed_weights_give_the_same_product(rows: int, biased: bool) -> None:
    weight, x = torch.randn(70, 33).bfloat16(), torch.randn(rows, 33).bfloat16()
    bias = torch.randn(70).bfloat16() if biased else None
    found, expected = (Product(weight, bias, pack)(x) for pack in (True, False))
    torch.testing.assert_close(found, expected)


def test_an_adapter_that_is_switched_off_is_left_to_peft(tmp_path: Path) -> None:
    policy = adapted(tmp_path, "llama", ())
    block = policy.network.blocks[0]  # type: ignore[index, union-attr]
    block.o_proj.enable_adapters(False)
    layer = block.o_proj
    with torch.no_grad(), fused(policy.network, torch.bfloat16, 1):  # type: ignore[arg-type]
        assert block.o_proj is layer
        assert isinstance(block.qkv, Fused)


@pytest.mark.parametrize("kind", ["llama-tied", "qwen2"])
def test_weights_kept_in_bfloat16_are_not_copied(kind: str, tmp_path: Path) -> None:
    path = str(write_checkpoint(tmp_path, kind))
    policy = Policy.load(path, dtype="bfloat16", bf16=True, lora=Lora(rank=2, alpha=2))
    kept = {weight.untyped_storage().data_ptr() for weight in policy.network.parameters()}
    with torch.no_grad(), fused(policy.network, torch.bfloat16, 1):  # type: ignore[arg-type]
        joined = [each for each in policy.network.modules() if isinstance(each, Fused)]
        assert len(joined) == 8
        assert all(each.product.weight.untyped_storage().data_ptr() in kept for each in joined)
    expected = [
        part(torch.ones(1, 32).bfloat16()) for part in policy.network.blocks[0].qkv.children()
    ]  # type: ignore[index, union-attr]
    joined_qkv = Fused(policy.network.blocks[0].qkv, torch.bfloat16)  # type: ignore[index, union-attr]
    found = joined_qkv(torch.ones(1, 32).bfloat16())
    torch.testing.assert_close(found, torch.cat(expected, dim=-1), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_trained_layers_have_the_gradient_that_peft_gives(
    kind: str, targets: tuple[str, ...], tmp_path: Path
) -> None:
    """In float32, where nothing but the order of sums differs, and with adapters that change."""
    policy = adapted(tmp_path, kind, targets)
    block = policy.network.blocks[0]  # type: ignore[index, union-attr]
    for name, width in (("qkv", 32), ("o_proj", 32), ("gate_up", 32), ("down_proj", 48)):
        layer = getattr(block, name)
        parts = list(layer.children()) if name in ("qkv", "gate_up") else [layer]
        if not any(weight.requires_grad for weight in layer.parameters()):
            continue  # left as it is
        joined = Trained(layer, torch.float32)
        assert {*dict(layer.named_parameters())} == {*dict(joined.named_parameters())}
        for _ in range(2):
            x = torch.randn(4, 2, width, requires_grad=True)
            given = [x, *(weight for weight in layer.parameters() if weight.requires_grad)]
            expected = torch.cat([part(x) for part in parts], dim=-1)
            towards = torch.randn_like(expected)
            torch.testing.assert_close(joined(x), expected, atol=1e-5, rtol=1e-4)
            slopes = torch.autograd.grad((expected * towards).sum(), given)
            found = torch.autograd.grad((joined(x) * towards).sum(), given)
            torch.testing.assert_close(found, slopes, atol=1e-4, rtol=1e-4)
            with torch.no_grad():
                for weight in given[1:]:
                    weight.mul_(1.5)


def slopes_of(policy: Policy, prompts: Prompts, drawn: Completions) -> list[torch.Tensor]:
    logprobs, _ = policy.score(prompts, drawn, torch.arange(len(drawn.mask)), Drawing(6))
    found = torch.autograd.grad((logprobs * drawn.mask).sum(), policy.trainable())
    return list(found)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ["llama-tied", "qwen2"])
@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_in_training_joined_layers_are_as_near_to_float32_as_layers_of_peft(
    kind: str, targets: tuple[str, ...], checkpointing: bool, tmp_path: Path
) -> None:
    exact = adapted(tmp_path, kind, targets)
    if checkpointing:
        exact.model.recompute()
    policy = replace(exact, bf16=True)
    prompts, drawing = exact.prompts(questions("Tom has 3 pens.", "fox")), Drawing(6)
    drawn = exact.sample(prompts, 2, drawing, drawing.uniforms(4, 0))
    before, wanted = exact.network.state_dict(), slopes_of(exact, prompts, drawn)
    rough = slopes_of(policy, prompts, drawn)
    with policy.frozen_cast(), policy.frozen_cast():
        kinds = {type(each) for each in policy.network.modules()}
        found = slopes_of(policy, prompts, drawn)
    assert Trained in kinds
    apart = [
        float(
            torch.cat(
                [(one - other).flatten() for one, other in zip(each, wanted, strict=True)]
            ).norm()
        )
        for each in (found, rough)
    ]
    size = float(torch.cat([slope.flatten() for slope in wanted]).norm())
    assert apart[0] < 1.3 * apart[1] < 0.1 * size
    after = exact.network.state_dict()
    assert {name: tensor.dtype for name, tensor in before.items()} == {
        name: tensor.dtype for name, tensor in after.items()
    }
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", ["llama-tied", "qwen2"])
def test_frozen_weights_cast_once_give_the_same_gradient(kind: str, tmp_path: Path) -> None:
    folder, lora = str(write_checkpoint(tmp_path, kind)), Lora(rank=3, alpha=5)
    policy = replace(Policy.load(folder, lora=lora, backend="transformers"), bf16=True)
    prompts, drawing = policy.prompts(questions("Tom has 3 pens.", "fox")), Drawing(6)
    drawn = policy.sample(prompts, 2, drawing, drawing.uniforms(4, 0))
    before, found = policy.network.state_dict(), []
    for context in (nullcontext(), policy.frozen_cast()):
        with context:
            found.append(slopes_of(policy, prompts, drawn))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    after = policy.network.state_dict()
    assert all(after[name].dtype == before[name].dtype for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
