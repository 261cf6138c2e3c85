"""The settings of what is kept. They load nothing but pydantic."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from understudy.errors import ConfigError
from understudy.settings import Section, check_settings
from understudy.store.caps import UNITS, Cap, Unit
from understudy.store.windows import LIFETIME, Window

ENVIRONMENT = "UNDERSTUDY_STORE"


class CapSettings(Section):
    """At most so much in so long, as `{dollars: 5, per: day}` or `{scope: "key:*", share: 0.2}`."""

    scope: str = Field(
        "total", description="total, team:NAME or key:ID; team:* and key:*: each of them by itself"
    )
    dollars: float | None = Field(None, ge=0, description="of calls to clouds")
    tokens: int | None = Field(None, ge=0, description="of prompts and answers of clouds")
    calls: int | None = Field(None, ge=0, description="to clouds")
    share: float | None = Field(
        None, ge=0, le=1, description="of all questions so far, rounded up, may be asked"
    )
    per: str = Field(
        LIFETIME, description="hour, day, week, month, a length such as 30d or 12h, or lifetime"
    )
    rolling: bool = Field(
        False, description="the last hour, day, ... instead of the calendar's; a length always is"
    )
    timezone: str = Field("UTC", description="of the calendar, such as Europe/Berlin")
    paced: bool = Field(False, description="spread evenly over its window of the calendar")
    at_once: float = Field(
        0.1, ge=0, le=1, description="part of a paced cap that is there from the beginning"
    )

    @model_validator(mode="after")
    def _is_a_cap(self) -> Self:
        given = [unit for unit in UNITS if getattr(self, unit) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(UNITS)}; here: {', '.join(given) or 'none'}")
        try:
            self.cap()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def text(self) -> str:
        """As people write it, such as 5 dollars/day."""
        unit = next(unit for unit in UNITS if getattr(self, unit) is not None)
        return f"{getattr(self, unit):g} {self.cap().name}"

    def cap(self) -> Cap:
        unit, most = next(
            (unit, value) for unit in UNITS if (value := getattr(self, unit)) is not None
        )
        window = Window.of(self.per, self.rolling, self.timezone)
        return Cap.of(self.scope, unit, most, window, paced=self.paced, at_once=self.at_once)


def cap_of(unit: Unit, text: str, scope: str = "total", option: str = "") -> CapSettings:
    """A cap as it is written on the command line: `5/day`, `100/30d`, `2.5`.

    option: its name there, for the refusal.
    """
    most, _, per = text.partition("/")
    try:
        given = {"scope": scope, unit: float(most), "per": per or LIFETIME}
    except ValueError:
        raise ConfigError(
            f"{option or unit} {text}: write a number of at least 0 and for how long, such as "
            "5/day, 5/month, 5/30d, or only the number for ever"
        ) from None
    try:
        return check_settings(CapSettings, given)
    except ConfigError as error:
        raise ConfigError(f"{option or unit} {text}: {error}") from None


class EventSettings(Section):
    """What is kept of every request."""

    text: Literal["off", "asked", "all"] = Field(
        "asked",
        description="whose question and answer are kept: nobody's, those that said store: true, "
        "everybody's",
    )
    days: float | None = Field(30, gt=0, description="events are kept for so long; null: for ever")
    write_seconds: float = Field(
        0.25, gt=0, le=10, description="an event is in the database after so long at most"
    )


class StoreSettings(Section):
    """Where the ledger, keys, events and versions are kept, and how."""

    url: str = Field(
        "",
        description="a file of SQLite, or postgresql://...; '': as the environment variable "
        f"{ENVIRONMENT} says, else a file in the user's data directory",
    )
    durable: bool = Field(
        False,
        description="SQLite: flush every commit to the disk, so that it survives loss of power; "
        "without, it survives the end of the process at any moment",
    )
    caps: tuple[CapSettings, ...] = Field((), description="what may be spent")
    hold_seconds: float = Field(
        120, ge=6, description="room that a process held is resolved so long after it fell silent"
    )
    secret_env: str = Field(
        "UNDERSTUDY_SECRET",
        description="name of the environment variable with the secret that seals sessions of the "
        "dashboard, alike for all replicas; where it is not set, SQLite has a file beside it",
    )
    events: EventSettings = Field(EventSettings(), description="what is kept of every request")


def store_url(given: str = "") -> str:
    """Where the store is, if nothing is said: in the environment, else in the user's folder."""
    if found := given or os.environ.get(ENVIRONMENT, ""):
        return found
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    folder = home / "understudy"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); set store.url") from None
    return str(folder / "gateway.db")
