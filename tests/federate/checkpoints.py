"""Small checkpoints of random weights, of every family of models that foundations come from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers

from understudy.models.hub import TINY

VOCABULARY = 179  # of the tokenizer that ships
_PICTURES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 3, "image_size": 12}
_TEXT: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 3}
_TEXT |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}


def _vit(**options: Any) -> Any:
    sizes = {"num_attention_heads": 2, "intermediate_size": 32, "patch_size": 4}
    config = transformers.ViTConfig(**(_PICTURES | sizes | options))
    return transformers.ViTModel(config, add_pooling_layer=False)


def _dinov2() -> Any:
    config = transformers.Dinov2Config(**_PICTURES, num_attention_heads=4, patch_size=3)
    return transformers.Dinov2Model(config)


def _bert() -> Any:
    config = transformers.BertConfig(
        **_TEXT, num_attention_heads=2, intermediate_size=32, max_position_embeddings=24
    )
    return transformers.BertModel(config)


def _gpt2() -> Any:
    named = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 1}
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=16, n_layer=3, n_head=2, n_positions=24, **named)
    )


def _llama() -> Any:
    config = transformers.LlamaConfig(
        **_TEXT,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    return transformers.LlamaForCausalLM(config)


MAKERS = {
    "vit": _vit,
    "vit of one channel": lambda: _vit(num_channels=1, num_attention_heads=4),
    "dinov2": _dinov2,
    "bert": _bert,
    "gpt2": _gpt2,
    "llama with grouped heads": _llama,
}
PICTURES = ("vit", "vit of one channel", "dinov2")
TEXTS = ("bert", "gpt2", "llama with grouped heads")


def checkpoint(name: str, folder: Path) -> Path:
    """A folder as `from_pretrained` reads it, with a tokenizer or the normalisation of pictures."""
    torch.manual_seed(len(name))
    model = MAKERS[name]()
    for parameter in model.parameters():  # large enough that every part matters
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    if name in PICTURES:
        channels = model.config.num_channels
        said = {"image_mean": [0.4] * channels, "image_std": [0.2] * channels}
        (folder / "preprocessor_config.json").write_text(json.dumps(said))
    else:
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(TINY / file, folder / file)
    return folder
