"""Checkpoints of random weights in the shape of a known model: what it costs, not what it knows.

A drawn token is one of a whole vocabulary, nearly alike in probability, so completions run to the
length that they are given, on every side of a comparison.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import torch
from tokenizers import models

from understudy.models.checkpoint import save_decoder
from understudy.models.decoder import Decoder, Shape
from understudy.models.tokens import PAD, build_tokenizer
from understudy.recipes.pretrain_tiny import write_tokenizer_config
from understudy.tasks import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
_STD = 0.02  # of a weight, as those models were begun with
_QWEN2 = {
    "model_type": "qwen2",
    "head_dim": 64,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "tie_word_embeddings": True,
    "max_position_embeddings": 32_768,
}
SHAPES = {
    "qwen2-0.5b": Shape(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        **_QWEN2,
    ),
    "qwen2-40m": Shape(
        vocab_size=32_768,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=2,
        **_QWEN2,
    ),
}


def checkpoint(size: str) -> Path:
    """The folder of such a checkpoint, written where there is none."""
    folder = ROOT / "build" / f"bench-{size}"
    if (folder / "model.safetensors").is_file():
        return folder
    shape = SHAPES[size]
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder, shape.vocab_size)
    with torch.device("meta"):
        model = Decoder(shape)
    model = model.to_empty(device="cpu")
    if shape.tie_word_embeddings:  # two empty matrices were made
        model.head.weight = model.embedding.weight
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(std=_STD, generator=generator)
            else:
                weight.fill_(1.0 if "norm" in name else 0.0)
    save_decoder(model, folder, folder)
    return folder


def _write_tokenizer(folder: Path, size: int) -> None:
    """The questions' own words first; every other token has a text, which no question has."""
    tokenizer = build_tokenizer([word for family in FAMILIES.values() for word in family.words])
    words = tokenizer.get_vocab()
    words |= {f"~{number}": number for number in range(len(words), size)}
    tokenizer.model = models.WordLevel(words, unk_token=PAD)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_tokenizer_config(folder)


def checksum(completions: list[Any], **_: Any) -> list[float]:
    """A reward by which completions differ although none is right: every one has a signal.

    Where rewards are alike, this project leaves work out; here it must not gain by that.
    """
    texts = [each if isinstance(each, str) else each[-1]["content"] for each in completions]
    return [zlib.crc32(text.encode()) / 2**32 for text in texts]
