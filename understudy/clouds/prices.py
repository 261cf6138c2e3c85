"""What an endpoint charges: a table that the user writes and owns. No price is ever guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from understudy.errors import ConfigError
from understudy.given import load_yaml
from understudy.settings import Section


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars per million tokens of one model."""

    prompt: float
    cached_prompt: float  # of prompt tokens that the endpoint found in its own cache
    completion: float
    cache_write: float | None = None  # of prompt tokens that it put there; None: as prompt

    def dollars(
        self,
        prompt_tokens: int,
        cached_tokens: int,
        completion_tokens: int,
        written_tokens: int = 0,
    ) -> float:
        """What one reply costs; tokens that its cache had or took are among the prompt's."""
        write = self.prompt if self.cache_write is None else self.cache_write
        total = (prompt_tokens - cached_tokens - written_tokens) * self.prompt
        total += written_tokens * write
        total += cached_tokens * self.cached_prompt + completion_tokens * self.completion
        return total / 1e6

    def at_most(self, prompt_tokens: int, completion_tokens: int) -> float:
        """As `dollars`, whatever the endpoint's cache makes of the prompt."""
        dearest = max(self.prompt, self.cached_prompt, self.cache_write or 0.0)
        return (prompt_tokens * dearest + completion_tokens * self.completion) / 1e6

    @property
    def is_free(self) -> bool:
        return not (self.prompt or self.cached_prompt or self.completion or self.cache_write)


class PriceSettings(Section):
    """Dollars per million tokens; 0 where it is free."""

    prompt: float = Field(ge=0, description="of the question")
    completion: float = Field(ge=0, description="of the answer")
    cached_prompt: float | None = Field(
        None, ge=0, description="of the question's tokens in the endpoint's cache; null: as prompt"
    )
    cache_write: float | None = Field(
        None, ge=0, description="of those that it puts into its cache; null: as prompt"
    )

    def prices(self) -> Prices:
        cached = self.prompt if self.cached_prompt is None else self.cached_prompt
        return Prices(self.prompt, cached, self.completion, self.cache_write)


def price_pair(text: str) -> dict[str, float] | None:
    """0.5/2, of question and answer; None: it is something else.

    >>> price_pair("0.5/2"), price_pair("prices/2026.yaml")
    ({'prompt': 0.5, 'completion': 2.0}, None)
    """
    prompt, mark, completion = text.partition("/")
    try:
        return {"prompt": float(prompt), "completion": float(completion)} if mark else None
    except ValueError:
        return None


def load_prices(path: Path, model: str, section: str = "cloud.http") -> Prices:
    """The prices of one model, from a table in YAML or JSON: model -> the fields of Prices.

    section: the settings that name the table and the model.
    """
    where = f"{section}.prices={path}"
    try:
        table = load_yaml(path.read_text(encoding="utf-8"))  # JSON is YAML too
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
    *needed, write = (each.name for each in fields(Prices))
    if not isinstance(row, Mapping) or set(row) - {write} != set(needed):
        raise ConfigError(
            f"{where} needs {', '.join(needed)}, in dollars per million tokens, and nothing else "
            f"but {write}"
        )
    for name in row:
        price = row[name]
        number = isinstance(price, int | float) and not isinstance(price, bool)
        if not number or not math.isfinite(price) or price < 0:
            raise ConfigError(
                f"{where}: {name}={price!r} is no price; write a number of at least 0"
            )
    return Prices(**{name: float(price) for name, price in row.items()})
