"""Numbers as the dashboard shows them: with a unit, as many digits as count, a dash for nothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime

NONE = "–"
_GAP = "\N{NO-BREAK SPACE}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def count(value: float | None) -> str:
    """A whole number, shortened from ten thousand on.

    >>> count(9_999), count(12_345), count(1_200_000)
    ('9,999', '12.3\\xa0k', '1.20\\xa0M')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) < 9_999.5:
        return f"{value:,.0f}"
    for prefix, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if abs(value) < 999.5 * size or prefix == "G":
            return f"{value / size:#.3g}".rstrip(".") + f"{_GAP}{prefix}"
    raise AssertionError("the last prefix takes everything")


def share(value: float | None) -> str:
    """
    >>> share(0.1234), share(0.004), share(1.0), share(0.0)
    ('12\\xa0%', '0.4\\xa0%', '100\\xa0%', '0\\xa0%')
    """
    if value is None or not math.isfinite(value):
        return NONE
    percent = 100 * value
    shown = f"{percent:.1f}" if 0 < percent < 9.95 or 99.5 <= percent < 100 else f"{percent:.0f}"
    return f"{'>99.9' if shown == '100.0' and percent < 100 else shown}{_GAP}%"


def dollars(value: float | None) -> str:
    """Cents from a dollar on, else three digits that count.

    >>> dollars(12.5), dollars(0.25), dollars(0.00123), dollars(0), dollars(12345)
    ('$12.50', '$0.25', '$0.00123', '$0', '$12,345')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "$0"
    if abs(value) >= 10_000:
        return f"${value:,.0f}"
    if abs(value) >= 0.1:
        return f"${value:,.2f}"
    return f"${value:.8f}".rstrip("0") if abs(value) < 1e-6 else f"${_three(value)}"


def _three(value: float) -> str:
    """Three digits that count, never with an exponent."""
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def duration(seconds: float | None) -> str:
    """How long something took.

    >>> duration(0.0123), duration(0.5), duration(2.345), duration(75)
    ('12\\xa0ms', '500\\xa0ms', '2.35\\xa0s', '75\\xa0s')
    """
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 0.9995:
        milliseconds = 1000 * seconds
        return (
            f"{milliseconds:.0f}{_GAP}ms" if milliseconds >= 9.95 else f"{milliseconds:.1f}{_GAP}ms"
        )
    return f"{seconds:.2f}{_GAP}s" if seconds < 9.995 else f"{seconds:,.0f}{_GAP}s"


def lasting(seconds: float) -> str:
    """A time until or since, in its two largest units.

    >>> lasting(42), lasting(150), lasting(3700), lasting(90_000)
    ('42 s', '2 min 30 s', '1 h 1 min', '1 d 1 h')
    """
    whole = max(int(seconds), 0)
    parts = [
        (whole // _DAY, "d"),
        (whole % _DAY // _HOUR, "h"),
        (whole % _HOUR // _MINUTE, "min"),
        (whole % _MINUTE, "s"),
    ]
    first = next((place for place, (number, _) in enumerate(parts) if number), 3)
    shown = [f"{number} {unit}" for number, unit in parts[first : first + 2] if number]
    return " ".join(shown) or "0 s"


def per_second(value: float) -> str:
    """A rate, in the unit that leaves a digit before the point.

    >>> per_second(10), per_second(0.5), per_second(0.0001)
    ('10 per second', '30 per minute', '0.4 per hour')
    """
    if value >= 1:
        return f"{_short(value)} per second"
    if value * _MINUTE >= 1 or value == 0:
        return f"{_short(value * _MINUTE)} per minute"
    return f"{_short(value * _HOUR)} per hour"


def _short(value: float) -> str:
    """A digit after the point where only one stands before it."""
    return f"{value:,.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"


def amount(unit: str, value: float | None) -> str:
    """In the unit of a cap."""
    if unit == "dollars":
        return dollars(value)
    return count(value) if unit == "share" or not is_known(value) else f"{count(value)} {unit}"


def utc(seconds: float) -> str:
    """For a machine: the page shows it in the reader's own time zone."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(seconds: float) -> str:
    """For people whose browser does not put it into their own time zone."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %H:%M:%S UTC")
