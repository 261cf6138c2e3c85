"""Prompts: tokens beside a sample's own, chosen by keys; against the blocks run by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.federate.checkpoints import checkpoint
from tests.federate.tiny import foundation
from understudy.errors import ConfigError
from understudy.federate.foundations.loading import load_foundation
from understudy.federate.foundations.settings import FoundationSettings
from understudy.federate.methods.prompts import nearest

SENTENCES = ["one two", "three", "what is this about?"]


def test_the_keys_of_the_smallest_angle_are_chosen() -> None:
    query = torch.tensor([[2.0, 0.0], [0.0, -1.0]])
    keys = torch.tensor([[0.0, 5.0], [1.0, 1.0], [3.0, 0.0]])
    alike, places = nearest(query, keys, 2)
    assert places.tolist() == [[2, 1], [2, 1]]
    torch.testing.assert_close(alike[0], torch.tensor([1.0, 0.5**0.5]))
    assert float(alike[1, 0]) == 0.0


def test_every_block_of_pictures_reads_them_and_they_are_not_pooled() -> None:
    frozen = foundation()
    inputs = frozen.prepare(torch.rand(3, 3, 16, 16))
    prompts = torch.randn(3, 2, frozen.token_width, requires_grad=True)
    found = frozen.features(inputs, prompts=prompts)
    module: Any = frozen.module
    plain = transformers.ViTModel(module.config, add_pooling_layer=False).eval()
    plain.load_state_dict(module.state_dict())
    with torch.no_grad():
        hidden = torch.cat([plain.embeddings(inputs["pixel_values"]), prompts], dim=1)
        stack = next(each for each in plain.modules() if isinstance(each, torch.nn.ModuleList))
        for block in stack:
            hidden = block(hidden)
        wanted = plain.layernorm(hidden)[:, 0]
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(found, frozen.features(inputs), atol=1e-3)
    (gradient,) = torch.autograd.grad(found[0, 0], prompts)
    assert float(gradient[0].abs().sum()) > 0
    assert float(gradient[1:].abs().sum()) == 0  # a sample's prompts are its own


@pytest.mark.parametrize("name", ["bert", "llama with grouped heads"])
def test_texts_read_them_first_and_padding_changes_nothing(tmp_path: Path, name: str) -> None:
    frozen: Any = load_foundation(FoundationSettings(name=str(checkpoint(name, tmp_path))))
    inputs = frozen.prepare(SENTENCES)
    inputs = {key: value[:, :16] for key, value in inputs.items()}
    prompts = torch.randn(3, 2, frozen.token_width)
    found = frozen.features(inputs, prompts=prompts)
    assert not torch.allclose(found, frozen.features(inputs), atol=1e-3)
    for row in range(3):
        one = {key: value[row : row + 1] for key, value in inputs.items()}
        alone = frozen.features(one, prompts=prompts[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], alone, atol=1e-5, rtol=1e-4)
    word = frozen.prepare(["one"])["input_ids"][:, :1]  # a prompt that is a word is that word
    embedded = frozen.module.get_input_embeddings()(word)
    some = {key: value[:1] for key, value in inputs.items()}
    longer = {
        "input_ids": torch.cat([word, some["input_ids"]], dim=1),
        "attention_mask": torch.cat([torch.ones(1, 1).long(), some["attention_mask"]], dim=1),
    }
    states = frozen.states(longer)[-1][:, 1:]
    length = int(some["attention_mask"].sum())
    torch.testing.assert_close(
        frozen.features(some, prompts=embedded),
        frozen.pooled(
            states[:, :length], some | {"attention_mask": some["attention_mask"][:, :length]}
        ),
    )
    with pytest.raises(ConfigError, match=r"are more than the 24 it can read"):
        frozen.features(inputs, prompts=torch.randn(3, 20, frozen.token_width))
