"""One readable method per file, by name. A recipe is loaded when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from understudy.errors import ConfigError

NAMES = {
    "understudy": "ours: a shifted request, a clearing price, a budget that is a bound",
    "dagrpo": "DA-GRPO as published: dual advantage, integral price",
    "gapg": "GAPG: a lower reward for help, prompts filtered",
    "grpo": "GRPO on the task alone; help goes to random questions",
    "shaped": "GRPO with a fixed price inside the reward",
}


def defaults(name: str) -> Mapping[str, Any]:
    """The settings in which a recipe differs from the general defaults."""
    return {**_module(name).DEFAULTS, "recipe": name}


def method(name: str) -> Any:
    """The recipe's class: called with a Config it gives a Method."""
    return _module(name).METHOD


def check_name(name: str) -> None:
    if name not in NAMES:
        raise ConfigError(f"recipe {name}: unknown; choose from {', '.join(NAMES)}")


def _module(name: str) -> Any:
    check_name(name)
    return importlib.import_module(f"understudy.recipes.{name}")
