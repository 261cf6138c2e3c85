"""What the study of federations compares, in the order of what it is worth, and what was tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# A line: the settings file, and its variants; what is compared with stands first.
LINES: dict[str, tuple[str, tuple[str, ...]]] = {
    "rivals": (
        "banking77",
        (
            "Fed-LSCL, cosine head, small generator",
            "Fed-LSCL, cosine head",
            "Fed-LSCL",
            "head, local only",
            "FedAvg of a head",
            "FedAvg of a head, by class",
            "FedAvg of a cosine head, by class",
            "FedAvg of LoRA, cosine head, by class",
            "cosine head, local only",
            "Fed-LSCL, local only",
            "Fed-LSCL, head at home",
            "head, joint",
            "Fed-LSCL, as published",
            "FedAvg of LoRA, by class",
            "small network, local only",
            "FedAvg of small networks",
            "FedAvg of LoRA",
            "FedAvg of generators",
            "LoRA, local only",
            "FedProx of LoRA",
            "LoRA, joint",
            "FedAvg of prompts",
        ),
    ),
    "users": (
        "sent140",
        (
            "Fed-LSCL",
            "head, local only",
            "FedAvg of a head",
            "head, joint",
            "FedAvg of LoRA",
            "Fed-LSCL, head at home",
            "Fed-LSCL, local only",
            "FedAvg of generators",
            "FedAvg of small networks",
            "LoRA, joint",
        ),
    ),
    "ablations": (
        "banking77",
        ("Fed-LSCL", "without SM-CF", "FedAvg of generators", "Fed-LSCL, head at home"),
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
        ("Fed-LSCL", "blocks 0, 1", "blocks 2, 3", "all blocks"),
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

_SEED = 100  # of tuning
_RATES = [{"local": {"learning_rate": rate}} for rate in (0.003, 0.01, 0.03)]
_STEERING = [{"method": {"steering_rate": rate}} for rate in (0.03, 0.1, 0.3)]
_HELD = [{"method": {"smcf": {"weight": weight}}} for weight in (0, 0.0001, 0.01, 1)]
_TUNED: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("banking77", "head, local only"): _RATES,
    ("banking77", "FedAvg of a head"): _RATES,
    ("banking77", "FedAvg of a head, by class"): _RATES,
    ("banking77", "Fed-LSCL, local only"): _STEERING,
    ("banking77", "Fed-LSCL"): _HELD,
    ("banking77", "FedAvg of LoRA"): _RATES,
    ("banking77", "small network, local only"): _RATES,
    ("banking77", "FedAvg of prompts"): _RATES,
    ("sent140", "FedAvg of a head"): _RATES,
    ("sent140", "Fed-LSCL"): _STEERING,
}


def tuned() -> Iterator[tuple[str, str, str, Mapping[str, Any], int]]:
    """(file, variant, label, settings, seed) of what settings were chosen by."""
    for (file, variant), given in _TUNED.items():
        for settings in given:
            (section, own), *_ = settings.items()
            name, value = next(iter(own.items()))
            value = value["weight"] if isinstance(value, dict) else value
            label = f"tuning: {variant}, {section}.{name} {value:g}"
            yield file, variant, label, {"data_options": {"held": "validation"}, **settings}, _SEED
