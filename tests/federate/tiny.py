"""A tiny frozen ViT with random weights, and tiny data: what tests of a federation run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import ViTConfig, ViTModel

from understudy.federate.foundations.inputs import PictureInputs
from understudy.federate.foundations.transformers_foundation import TransformersFoundation
from understudy.federate.settings import FederateConfig
from understudy.settings import check_settings

HERE = Path(__file__)

SMALL: dict[str, Any] = {
    "data_options": {"classes": 10, "per_class": 30, "size": 16, "noise": 0.1},
    "foundation": {"name": f"{HERE}:foundation"},
    "small": "residual",
    "small_options": {"width": 8, "stages": 2, "blocks": 1},
    "feature_width": 8,
    "clients": 3,
    "tasks": 2,
    "classes_per_task": 2,
    "partition": {"private": 2, "shared": 4, "train_per_class": 8, "test_per_class": 6},
    "method": {"blocks": [1, 2], "rank": 2, "buffer": 4, "generator": {"hidden": 4}},
    "server": {"kind": "o2d", "steps": 3, "batch": 4},
    "rounds": 2,
    "local": {"batch": 8},
    "seeds": [0],
}


def config_of(**settings: Any) -> FederateConfig:
    return check_settings(FederateConfig, SMALL | settings)


def foundation() -> TransformersFoundation:
    """The same weights each time."""
    shape = ViTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module = ViTModel(shape, add_pooling_layer=False)
    inputs = PictureInputs(16, 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return TransformersFoundation("tiny", module, inputs, size=16)
