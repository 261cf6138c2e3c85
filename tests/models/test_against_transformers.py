"""The decoder and its files held against transformers' own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from understudy.models import decoder
from understudy.models.checkpoint import load_decoder, save_decoder
from understudy.models.decoder import Decoder

SMALL = {
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "max_position_embeddings": 64,
}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-grouped-keys": ("llama", {"num_key_value_heads": 2}),
    "llama-one-key-head": ("llama", {"num_key_value_heads": 1}),
    "llama-tied": ("llama", {"tie_word_embeddings": True}),
    "llama-wide-heads": ("llama", {"head_dim": 12, "num_key_value_heads": 3}),
    "llama-narrow-heads": ("llama", {"head_dim": 4}),
    "llama-theta": ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "llama-large-epsilon": ("llama", {"rms_norm_eps": 0.1}),
    "qwen2": ("qwen2", {}),
    "qwen2-grouped-keys-tied": ("qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen2-theta": (
        "qwen2",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, "num_key_value_heads": 3},
    ),
    "qwen2-wide-heads": ("qwen2", {"head_dim": 16, "num_key_value_heads": 2}),
}
EACH = pytest.mark.parametrize("case", CASES)


def oracle(case: str) -> Any:
    """transformers' model with weights, biases and norms far from their initial values."""
    kind, changes = CASES[case]
    config = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[kind]
    classes = {"llama": transformers.LlamaForCausalLM, "qwen2": transformers.Qwen2ForCausalLM}
    torch.manual_seed(len(case))
    model = classes[kind](config(**(SMALL | changes))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.3)
    return model


def drawn(count: int = 17) -> Tensor:
    return torch.randint(2, 61, (3, count), generator=torch.Generator().manual_seed(7))


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@pytest.fixture(params=[decoder.WRITTEN_OUT, 0], ids=["written-out", "fused"])
def attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to attend: what is short, and what is long or on a GPU."""
    monkeypatch.setattr(decoder, "WRITTEN_OUT", request.param)


@EACH
@pytest.mark.usefixtures("attention")
@torch.no_grad()
def test_logits_equal_those_of_transformers(case: str, tmp_path: Path) -> None:
    theirs = oracle(case)
    theirs.save_pretrained(tmp_path)
    ours = load_decoder(tmp_path)
    expected = theirs(drawn()).logits
    assert expected.std() > 0.1
    assert difference(ours(drawn()), expected) < 1e-4


@EACH
@torch.no_grad()
def test_transformers_loads_what_is_saved(case: str, tmp_path: Path) -> None:
    theirs = oracle(case)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_decoder(tmp_path / "theirs")
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(1.01)  # not what the first file holds
    save_decoder(ours, tmp_path / "ours", tmp_path / "theirs")
    back = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", dtype=torch.float32
    ).eval()
    assert type(back) is type(theirs)
    assert difference(back(drawn()).logits, ours(drawn())) < 1e-4
    again = load_decoder(tmp_path / "ours")
    assert again.shape == ours.shape
    assert torch.equal(again(drawn()), ours(drawn()))


@torch.no_grad()
def test_names_of_every_tensor_are_those_of_transformers(tmp_path: Path) -> None:
    for case in ("llama-grouped-keys", "qwen2", "llama-tied"):
        theirs = oracle(case)
        theirs.save_pretrained(tmp_path / case)
        save_decoder(load_decoder(tmp_path / case), tmp_path / f"{case}-ours", tmp_path / case)
        _, report = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / f"{case}-ours", output_loading_info=True
        )
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert not report["mismatched_keys"]


def padded_logits(model: Decoder, ids: Tensor, mask: Tensor, tail: Tensor) -> Tensor:
    return model.head(model.continue_(tail, model.encode(ids, mask), mask))


@EACH
@pytest.mark.usefixtures("attention")
@torch.no_grad()
def test_a_left_padded_prefix_gives_the_logits_of_the_bare_text(case: str, tmp_path: Path) -> None:
    theirs = oracle(case)
    theirs.save_pretrained(tmp_path)
    ours = load_decoder(tmp_path)
    text, lengths = drawn(), (4, 9, 1)
    ids, mask = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 9, dtype=torch.bool)
    for row, length in enumerate(lengths):
        ids[row, 9 - length :], mask[row, 9 - length :] = text[row, :length], True
    found = padded_logits(ours, ids, mask, text[:, 9:])
    for row, length in enumerate(lengths):
        bare = torch.cat((text[row, :length], text[row, 9:]))[None]
        expected = theirs(bare).logits[0, length:]
        assert difference(found[row], expected) < 1e-4


@pytest.mark.usefixtures("attention")
def test_gradients_equal_those_of_transformers(tmp_path: Path) -> None:
    """Also through a tied embedding, which is read at both ends."""
    for case in ("llama-tied", "qwen2-grouped-keys-tied", "llama-grouped-keys"):
        theirs = oracle(case)
        theirs.save_pretrained(tmp_path / case)
        ours = load_decoder(tmp_path / case)
        for logits in (theirs(drawn()).logits, ours(drawn())):
            logits.log_softmax(-1)[..., 3].sum().backward()
        expected = theirs.model.embed_tokens.weight.grad
        assert difference(ours.embedding.weight.grad, expected) < 1e-3 * float(expected.abs().max())
        q, k, v = (getattr(theirs.model.layers[1].self_attn, f"{p}_proj") for p in "qkv")
        fused = torch.cat([part.weight.grad for part in (q, k, v)])
        assert difference(ours.blocks[1].qkv.weight.grad, fused) < 1e-3 * float(fused.abs().max())
