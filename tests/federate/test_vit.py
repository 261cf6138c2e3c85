"""The small ViT: its shape, and its checkpoint in float16."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import ViTModel

from understudy.errors import ConfigError
from understudy.federate.foundations import loading
from understudy.federate.foundations.loading import load_foundation
from understudy.federate.foundations.settings import FoundationSettings
from understudy.federate.foundations.vit import save_vit, vit_config

LARGEST = 8 * 2**20


def test_it_can_be_had_with_random_weights() -> None:
    foundation = load_foundation(FoundationSettings(name="vit", random=True))
    assert (foundation.kind, foundation.blocks, foundation.width) == ("pictures", 12, 128)
    assert foundation.features(foundation.prepare(torch.rand(2, 1, 8, 8))).shape == (2, 128)


def test_it_is_saved_small_and_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ViTModel(vit_config(), add_pooling_layer=False).eval()
    before = model.embeddings.cls_token.clone()
    save_vit(model, tmp_path)
    assert torch.equal(before, model.embeddings.cls_token)
    assert (tmp_path / "model.safetensors").stat().st_size < LARGEST
    foundation = load_foundation(FoundationSettings(name=str(tmp_path)))
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        wanted = model(2 * pictures - 1).last_hidden_state[:, 0]
    found = foundation.features(foundation.prepare(pictures))
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=2e-2)
    assert found.dtype == torch.float32


def test_without_its_weights_it_says_how_to_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "VIT", tmp_path)
    with pytest.raises(ConfigError, match="federate_foundation"):
        load_foundation(FoundationSettings(name="vit"))
