"""The small ViT that ships: 12 blocks of width 128 for pictures of 32 x 32, 2.4M parameters.

Its weights are an ordinary checkpoint of transformers, pre-trained on formula-driven pictures alone
(`python bench/federate_foundation.py`). Twelve blocks, as ViT-B has, so that a block's position
means the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

VIT = Path(__file__).parent / "shipped"
SIZE = 32


def vit_config(width: int = 128, blocks: int = 12, heads: int = 4, patch: int = 4) -> Any:
    from transformers import ViTConfig

    return ViTConfig(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=SIZE,
        patch_size=patch,
        num_channels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def save_vit(model: Any, folder: Path) -> None:
    """In float16, with the normalisation that it was trained with; the model is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: each.to(torch.float16) for name, each in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    half = [0.5, 0.5, 0.5]
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": SIZE, "width": SIZE},
        "do_normalize": True,
        "image_mean": half,
        "image_std": half,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
