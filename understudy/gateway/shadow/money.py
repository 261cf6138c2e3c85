"""What the logged calls cost: by a price table, else as the log says; never for nothing unknown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from understudy.clouds.estimates import about_tokens
from understudy.clouds.prices import Prices, PriceSettings, price_pair
from understudy.errors import ConfigError
from understudy.gateway.shadow.records import LoggedCall, text_in
from understudy.given import load_yaml
from understudy.settings import check_settings

_OPTION = "--cloud-prices"


@dataclass(frozen=True, slots=True)
class Paid:
    """Dollars of each call, and how they are known."""

    dollars: list[float]
    logged: int  # as the log says
    reckoned: int  # calls whose tokens were reckoned from characters


def paid(calls: Sequence[LoggedCall], table: Mapping[str, Prices] | None) -> Paid:
    """table: model -> prices; None: as the log says. An unknown price is refused by name."""
    found: list[float] = []
    logged = reckoned = 0
    unknown: Counter[str] = Counter()
    for call in calls:
        prices = None if table is None else price_of(table, call.model)
        if call.free:
            found.append(0.0)
        elif prices is not None:
            cost, counted = charged(prices, call)
            found.append(cost)
            reckoned += not counted
        elif table is None and call.dollars:  # a log that knows no price says 0
            found.append(call.dollars)
            logged += 1
        else:
            unknown[call.model or "(no model named)"] += 1
    if unknown:
        raise ConfigError(_no_price(unknown, table))
    return Paid(found, logged, reckoned)


def charged(prices: Prices, call: LoggedCall) -> tuple[float, bool]:
    """Dollars of a call by its prices, and whether the log has its tokens."""
    prompt, completion, counted = tokens_of(call)
    cached, written = call.cached_tokens, call.written_tokens
    return prices.dollars(max(prompt, cached + written), cached, completion, written), counted


def tokens_of(call: LoggedCall) -> tuple[int, int, bool]:
    """Of the prompt, of the answer, and whether the log has both: a stream may lack its usage."""
    prompt, completion = call.prompt_tokens, call.completion_tokens
    counted = prompt is not None and completion is not None and prompt + completion > 0
    if counted:
        assert prompt is not None and completion is not None  # noqa: PT018
        return prompt, completion, True
    asked = sum(len(text_in(each.get("content"))) for each in call.messages)
    return (
        prompt or about_tokens(asked),
        completion or about_tokens(len(call.answer)),
        False,
    )


def load_table(given: str) -> dict[str, Prices]:
    """0.5/2 for every model; or a file, or YAML in place: model -> {prompt, completion,
    cached_prompt, cache_write}, dollars per million tokens. A model may be a pattern: 'gpt-x-*'."""
    if (pair := price_pair(given)) is not None:
        return {"*": _checked(_OPTION, given, pair)}
    if given.lstrip().startswith("{"):
        where, text = _OPTION, given
    else:
        where = f"{_OPTION} {given}"
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"{where}: cannot be read ({reason})") from None
    try:
        table: Any = load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML ({error})".replace("\n", " ")) from None
    if not isinstance(table, Mapping) or not table:
        raise ConfigError(f"{where}: a price table is a mapping of models to their prices")
    if "prompt" in table:
        table = {"*": table}
    return {str(model): _checked(where, str(model), row) for model, row in table.items()}


def dollars(value: float) -> str:
    """With two digits that count at least.

    >>> dollars(1234.5), dollars(0.25), dollars(0.000042), dollars(0)
    ('$1,234.50', '$0.2500', '$0.000042', '$0.00')
    """
    if value >= 1 or value <= 0:
        return f"${value:,.2f}"
    return f"${value:.{max(4, 1 - math.floor(math.log10(value)))}f}"


def _checked(where: str, model: str, row: Any) -> Prices:
    if not isinstance(row, Mapping):
        raise ConfigError(
            f"{where}: {model} needs prompt and completion, dollars per million tokens"
        )
    try:
        return check_settings(PriceSettings, dict(row)).prices()
    except ConfigError as error:
        raise ConfigError(f"{where}: {model}: {error}") from None


def price_of(table: Mapping[str, Prices], model: str) -> Prices | None:
    """By its name, also without the provider before it; else by the first pattern that fits."""
    for name in (model, model.rpartition("/")[2]):
        if name in table:
            return table[name]
    return next((each for name, each in table.items() if fnmatchcase(model, name)), None)


def _no_price(unknown: Mapping[str, int], table: Mapping[str, Prices] | None) -> str:
    names = ", ".join(f"{name} ({count} calls)" for name, count in unknown.items())
    known = "" if table is None else f" (the table has {', '.join(table)})"
    said = "and the log says no cost" if table is None else "in the table"
    return (
        f"no price for {names} {said}{known}; give it by {_OPTION} in dollars per million tokens, "
        "as 0.5/2 for question and answer of every model, or in your table; 0 where it is free"
    )
