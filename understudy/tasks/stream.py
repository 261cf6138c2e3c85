"""A stream of work that switches: phases, each a mixture of families with its own budget."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator

from understudy.errors import ConfigError
from understudy.given import load_yaml
from understudy.settings import Section, check_settings
from understudy.tasks.catalogue import FAMILIES
from understudy.tasks.data import EXAMPLES
from understudy.tasks.family import LEVELS

_SHIPPED = Path(__file__).parent / "streams"


class Phase(Section):
    """One stretch of a stream: what is asked, for how long, and how much help it may use."""

    families: dict[str, float] = Field(description="family names and their shares")
    steps: int = Field(60, ge=1, description="training steps before the next switch")
    budget: float | None = Field(None, ge=0, le=1, description="share allowed to ask here")
    levels: tuple[int, int] = Field((1, 5), description="easiest and hardest level, 1 to 5")

    @field_validator("families", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A name, a list of names, or names with shares."""
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple | Mapping) or not value:
            raise ValueError("name at least one family")
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"{name!r} is not a family's name")
        return value if isinstance(value, Mapping) else dict.fromkeys(value, 1.0)

    @field_validator("families")
    @classmethod
    def _positive(cls, value: dict[str, float]) -> dict[str, float]:
        for name, share in value.items():
            if not share > 0:
                raise ValueError(f"the share of {name} is {share}; shares are above 0")
        return value

    @field_validator("levels")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not LEVELS[0] <= value[0] <= value[1] <= LEVELS[-1]:
            raise ValueError(f"levels {list(value)} are not an ascending pair from 1 to 5")
        return value

    @property
    def name(self) -> str:
        return "+".join(self.families)


def load_stream(
    stream: str | list[Any], families: Collection[str] = tuple(FAMILIES)
) -> list[Phase]:
    """The phases of a shipped stream (by name), of a YAML file, or given in place.

    families: the names that a phase may use: `Tasks.families`, or the generated ones and those of
    the setting `data`.
    """
    if isinstance(stream, str):
        stream = _read(stream)
    if not isinstance(stream, list) or not stream:
        raise ConfigError("stream: a stream is a list of phases, each with its families")
    phases = []
    for number, item in enumerate(stream, start=1):
        if not isinstance(item, Phase | Mapping):
            raise ConfigError(
                f"stream: phase {number} is {item!r}; write it as {{families: facts, steps: 60}}"
            )
        try:
            phases.append(item if isinstance(item, Phase) else check_settings(Phase, item))
        except ConfigError as error:
            raise ConfigError(f"stream: phase {number}: {error}") from None
        for name in phases[-1].families:
            if name not in families:
                raise ConfigError(f"stream: phase {number}: families: {_unknown(name, families)}")
    return phases


def _unknown(name: str, families: Collection[str]) -> str:
    if name in EXAMPLES:
        return f"{name} is a data set; say where it is with data: {{{name}: {EXAMPLES[name]}}}"
    near = difflib.get_close_matches(name, families, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    known = ", ".join(families)
    return f"unknown family {name!r}; choose from {known}, or add it under data{meant}"


def is_shipped(name: str) -> bool:
    return (_SHIPPED / f"{name}.yaml").is_file()


def shipped_streams() -> list[str]:
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def _read(name: str) -> Any:
    path = _SHIPPED / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    try:
        return load_yaml(path.read_text())
    except OSError:
        known = ", ".join(shipped_streams())
        raise ConfigError(
            f"stream={name}: no such stream; use {known}, or a YAML file's path"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"stream={name}: not valid YAML ({error})".replace("\n", " ")) from error
