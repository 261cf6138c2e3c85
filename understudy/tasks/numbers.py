"""Numbers as people write them, compared exactly: the cheap half of checking mathematics."""

from __future__ import annotations

import re
from fractions import Fraction

# Digits with or without separators, and a fraction or a decimal part. Bounded in length, and
# without exponents: a number takes no longer to read than its text does.
_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,60})"
_NUMBER = re.compile(
    rf"(?P<sign>[-+−]?)(?P<whole>{_DIGITS})?(?:\.(?P<part>[0-9]{{1,60}})?|/(?P<below>{_DIGITS}))?"
)
_LAST = re.compile(rf"(?:(?<![\w)])[-−])?\$?{_DIGITS}(?:\.[0-9]{{1,60}}|/{_DIGITS})?")
_TEX_FRACTION = re.compile(r"([-−]?)\\[dt]?frac\{([0-9]{1,60})\}\{([0-9]{1,60})\}")
_SEPARATOR = re.compile(r"(?<=[0-9])(?:\\,|\{,\}|,\\!)(?=[0-9]{3})")
_CURRENCY = re.compile(r"^([-+−]?)\s*\\?[$€£]\s*")
_SHARE = re.compile(r"\s*\\?[%$€£]$")
_UNIT = re.compile(r"(?<=[0-9])(?:\s*\\(?:text|mathrm|mbox)\{[A-Za-z .]*\}|(?:\s+[A-Za-z]+)+)$")

_LONGEST = 200  # characters


def exact_number(text: str, units: bool = False) -> Fraction | None:
    """The number that a text is; None where it is anything else.

    Signs of currency and percent, thousands separators and a closing full stop are read over, and
    with `units` a unit in words is: '$1,234.50', '70%', '3/4' and, with its unit, '18 dollars.'
    are numbers; '3 + 4' is an expression.
    """
    if len(text) > _LONGEST:
        return None
    bare = text.strip().strip("*").rstrip(".").strip()
    bare = bare.removeprefix("=").removeprefix("$").removesuffix("$").strip()
    if units:
        bare = _UNIT.sub("", bare)
    bare = _SHARE.sub("", _CURRENCY.sub(r"\1", _SEPARATOR.sub("", bare)))
    if fraction := _TEX_FRACTION.fullmatch(bare):
        sign, above, under = fraction.groups()
        bare = f"{sign}{above}/{under}"
    match = _NUMBER.fullmatch(bare)
    if match is None or (match["whole"] is None and match["part"] is None):
        return None
    below = int((match["below"] or "1").replace(",", ""))
    if below == 0:
        return None
    whole, part = (match["whole"] or "0").replace(",", ""), match["part"] or ""
    value = Fraction(int(whole + part), 10 ** len(part)) / below
    return -value if match["sign"] in ("-", "−") else value


def last_number(text: str) -> str | None:
    """The last number that stands in a text."""
    found = _LAST.findall(text)
    return found[-1] if found else None
