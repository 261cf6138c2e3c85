"""What an endpoint charges: a table that the user writes and owns. No price is ever guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars per million tokens of one model."""

    prompt: float
    cached_prompt: float  # of prompt tokens that the endpoint found in its own cache
    completion: float

    def dollars(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        """What one reply costs; the cached tokens are among the prompt's."""
        total = (prompt_tokens - cached_tokens) * self.prompt
        total += cached_tokens * self.cached_prompt + completion_tokens * self.completion
        return total / 1e6


def load_prices(path: Path, model: str, section: str = "cloud.http") -> Prices:
    """The prices of one model, from a table in YAML or JSON: model -> the fields of Prices.

    section: the settings that name the table and the model.
    """
    where = f"{section}.prices={path}"
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML too
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: not valid YAML ({error})".replace("\n", " ")) from None
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: a price table is a mapping of models to their prices")
    if model not in table:
        known = ", ".join(map(str, table)) or "none"
        raise ConfigError(
            f"{where}: no price for {section}.model={model} (it has {known}); "
            "write its prices there, 0 where it is free"
        )
    return _prices(f"{where}: {model}", table[model])


def _prices(where: str, row: Any) -> Prices:
    names = [each.name for each in fields(Prices)]
    if not isinstance(row, Mapping) or set(row) != set(names):
        raise ConfigError(
            f"{where} needs {', '.join(names)}, in dollars per million tokens, and nothing else"
        )
    for name in names:
        price = row[name]
        number = isinstance(price, int | float) and not isinstance(price, bool)
        if not number or not math.isfinite(price) or price < 0:
            raise ConfigError(
                f"{where}: {name}={price!r} is no price; write a number of at least 0"
            )
    return Prices(**{name: float(row[name]) for name in names})
