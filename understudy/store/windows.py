"""The time that a cap is for: an hour, a day, a week, a month, any length, or always.

Pure arithmetic over minutes since 1970 (UTC). A calendar window begins on the hour, at midnight, on
Monday or on the first of the month, in a time zone. A rolling window is always the last so many
minutes: what was spent leaves it when its minute is older than that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from understudy.errors import ConfigError

MINUTES = {"hour": 60, "day": 1440, "week": 7 * 1440, "month": 30 * 1440}
_LENGTH = re.compile(r"([0-9]{1,9})\s*([mhdw])")
_LETTERS = {"m": 1, "h": 60, "d": 1440, "w": 7 * 1440}
LIFETIME = "lifetime"
LONGEST = 92 * 1440  # minutes of a rolling window: what is older is kept by the day


def minutes_of(text: str) -> int:
    """A length such as 15m, 12h, 30d or 2w; 0: it is none.

    >>> minutes_of("12h"), minutes_of("never")
    (720, 0)
    """
    found = _LENGTH.fullmatch(text.strip().lower())
    return int(found[1]) * _LETTERS[found[2]] if found else 0


@dataclass(frozen=True, slots=True)
class Window:
    """kind: lifetime, hour, day, week or month; or rolling, with its length in minutes."""

    kind: str = LIFETIME
    minutes: int = 0
    timezone: str = "UTC"

    @classmethod
    def of(cls, text: str, rolling: bool = False, timezone: str = "UTC") -> Window:
        """`day`, `month` and so on, `30d` or `12h` (always rolling), or `lifetime`."""
        try:
            _zone(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigError(
                f"timezone={timezone}: not a known time zone; if this machine knows none at all, "
                "pip install tzdata"
            ) from None
        word = text.strip().lower() or LIFETIME
        if minutes := minutes_of(word):
            if minutes > LONGEST:
                raise ConfigError(f"per={text}: use at most {LONGEST // 1440}d, or {LIFETIME}")
            return cls("rolling", minutes)
        if word in MINUTES:
            return cls("rolling", MINUTES[word]) if rolling else cls(word, timezone=timezone)
        if word == LIFETIME and not rolling:
            return cls()
        known = ", ".join(MINUTES)
        raise ConfigError(f"per={text}: use {known}, a length such as 30d or 12h, or {LIFETIME}")

    @property
    def name(self) -> str:
        """What it is called in headers, messages and the database."""
        return _name(self.kind, self.minutes, self.timezone)

    @property
    def is_calendar(self) -> bool:
        return self.kind in MINUTES

    def start(self, minute: int) -> int:
        """The first minute that counts at that minute."""
        if self.kind == "rolling":
            return minute - self.minutes
        return bounds(self, minute)[0] if self.is_calendar else 0

    def end(self, minute: int) -> int | None:
        """When a calendar window begins anew; None: it never does all at once."""
        return bounds(self, minute)[1] if self.is_calendar else None


ALWAYS = Window()


@lru_cache(maxsize=512)
def _name(kind: str, minutes: int, timezone: str) -> str:
    if kind == "rolling":
        letter = next(letter for letter in "wdhm" if minutes % _LETTERS[letter] == 0)
        return f"{minutes // _LETTERS[letter]}{letter}"
    return kind if timezone == "UTC" else f"{kind} {timezone}"


@lru_cache(maxsize=512)
def bounds(window: Window, minute: int) -> tuple[int, int]:
    """The calendar window that a minute is in: its first minute and the next window's."""
    zone = _zone(window.timezone)
    local = datetime.fromtimestamp(minute * 60, zone)
    if window.kind == "hour":
        start = minute - local.minute
        return start, start + 60
    day = local.replace(hour=0, minute=0, second=0, fold=0, tzinfo=None)
    if window.kind == "day":
        first, following = day, day + timedelta(days=1)
    elif window.kind == "week":
        first = day - timedelta(days=day.weekday())
        following = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
    return _minute(first, zone), _minute(following, zone)


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)  # UTC needs no files


def _minute(local: datetime, zone: tzinfo) -> int:
    return int(local.replace(tzinfo=zone).timestamp()) // 60


def paced(most: int, at_once: float, start: int, end: int, now: float) -> int:
    """What may be spent by now of a cap that is spread evenly over its window.

    start, end: the window in minutes; now: seconds. at_once: the part that is there from the
    window's beginning.
    """
    first = int(most * at_once)
    length = (end - start) * 60_000
    elapsed = min(max(int(now * 1000) - start * 60_000, 0), length)
    return first + (most - first) * elapsed // length


def paced_until(amount: int, most: int, at_once: float, start: int, end: int) -> float:
    """When, in seconds, an evenly spread cap has let so much go."""
    first = int(most * at_once)
    if amount <= first or most == first:
        return start * 60.0
    return start * 60 + (end - start) * 60 * (amount - first) / (most - first)
