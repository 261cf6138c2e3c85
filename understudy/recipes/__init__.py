"""One readable method per file, by name. A recipe is loaded when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from understudy.errors import ConfigError

if TYPE_CHECKING:
    from understudy.offload.config import Config
    from understudy.offload.method import Method

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


def method(name: str) -> Callable[[Config], Method]:
    """The recipe's class: called with a Config it gives a Method."""
    made: Callable[[Config], Method] = _module(name).METHOD
    return made


def check_name(name: str) -> None:
    if name not in NAMES:
        raise ConfigError(f"recipe {name}: unknown; choose from {', '.join(NAMES)}")


def _module(name: str) -> Any:
    check_name(name)
    return importlib.import_module(f"understudy.recipes.{name}")
