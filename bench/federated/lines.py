"""What the study of federations compares, in the order of what it is worth, and what was tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# A line: the settings file, and its variants; what is compared with stands first.
LINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "rivals": (
        "banking77",
        (
            "Fed-LSCL",
            "Fed-LSCL, local only",
            "FedAvg of a head",
            "head, local only",
            "FedAvg of LoRA",
            "LoRA, local only",
            "FedAvg of generators",
            "FedProx of LoRA",
            "FedAvg of small networks",
            "small network, local only",
            "head, joint",
            "LoRA, joint",
            "FedAvg of prompts",
        ),
    ),
    "recipe": ("banking77", ("Fed-LSCL", "Fed-LSCL, as published")),
    "ablations": ("banking77", ("Fed-LSCL", "without SM-CF", "Fed-LSCL, local only")),
    "users": (
        "sent140",
        (
            "Fed-LSCL",
            "Fed-LSCL, local only",
            "FedAvg of a head",
            "head, local only",
            "FedAvg of LoRA",
            "FedAvg of generators",
            "FedAvg of small networks",
            "head, joint",
            "LoRA, joint",
        ),
    ),
    "random foundation": (
        "banking77",
        (
            "random: Fed-LSCL",
            "random: head, local only",
            "random: FedAvg of LoRA",
            "small network, local only",
        ),
    ),
    "blocks": (
        "banking77",
        ("Fed-LSCL", "blocks 0, 1", "blocks 4, 5", "all blocks"),
    ),
    "buffer": ("banking77", ("Fed-LSCL", "buffer 5", "buffer 60")),
    "small networks": ("banking77", ("Fed-LSCL", "attention", "mixed small networks")),
    "nothing shared": (
        "banking77",
        (
            "nothing shared: Fed-LSCL",
            "nothing shared: local only",
            "nothing shared: FedAvg of LoRA",
        ),
    ),
    "tasks": (
        "banking77",
        ("5 tasks of 2", "10 tasks of 2", "20 tasks of 2", "20 tasks of 2, local only"),
    ),
    "clients": (
        "banking77",
        (
            "5 clients: Fed-LSCL",
            "5 clients: local only",
            "10 clients: Fed-LSCL",
            "20 clients: Fed-LSCL",
            "20 clients: a quarter at a time",
        ),
    ),
}

_RATES = (0.001, 0.003, 0.01, 0.03)
_SEED = 100  # of tuning


def tuned() -> Iterator[tuple[str, str, str, Mapping[str, Any], int]]:
    """(file, variant, label, settings, seed) of what settings were chosen by."""
    held = {"data_options": {"held": "validation"}}
    for file, variants in {
        "banking77": (
            "head, local only",
            "FedAvg of a head",
            "Fed-LSCL, local only",
            "FedAvg of LoRA",
            "LoRA, local only",
            "small network, local only",
            "FedAvg of small networks",
            "FedAvg of prompts",
        ),
        "sent140": ("head, local only", "FedAvg of a head", "Fed-LSCL", "FedAvg of LoRA"),
    }.items():
        for variant in variants:
            for rate in _RATES:
                label = f"tuning: {variant}, rate {rate:g}"
                yield file, variant, label, held | {"local": {"learning_rate": rate}}, _SEED
