"""Units of time, weekdays, clock times and dates of a common year."""

from __future__ import annotations

import random

from understudy.tasks.family import Draft, Family

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
UNITS = ((" hours", " min", 60), (" weeks", " days", 7), (" days", " hours", 24))


def _moment(rng: random.Random, level: int) -> Draft:
    return (_unit, _mixed_units, _weekday, _clock, _date)[level - 1](rng)


def _unit(rng: random.Random) -> Draft:
    unit = rng.choice(UNITS)
    return unit_draft(unit, rng.randint(1, 30))


def unit_draft(unit: tuple[str, str, int], count: int) -> Draft:
    large, small, ratio = unit
    return Draft(f"{count}{large} in{small}", str(count * ratio), f"#{count * ratio}")


def _mixed_units(rng: random.Random) -> Draft:
    unit = rng.choice(UNITS)
    return mixed_units_draft(unit, rng.randint(1, 12), rng.randint(1, unit[2] - 1))


def mixed_units_draft(unit: tuple[str, str, int], count: int, rest: int) -> Draft:
    large, small, ratio = unit
    total = count * ratio + rest
    prompt = f"{count}{large} {rest}{small} in{small}"
    return Draft(prompt, str(total), f"{count * ratio}#{total}")


def _weekday(rng: random.Random) -> Draft:
    return weekday_draft(rng.randrange(7), rng.randint(1, 30))


def weekday_draft(day: int, shift: int) -> Draft:
    result = DAYS[(day + shift) % 7]
    return Draft(f"{DAYS[day]} + {shift} days", result, f"{shift % 7}#{result}")


def _clock(rng: random.Random) -> Draft:
    return clock_draft(rng.randint(0, 22), rng.randrange(60), rng.randint(5, 59))


def clock_draft(hour: int, minute: int, shift: int) -> Draft:
    total = minute + shift
    result = f"{hour + total // 60:02}:{total % 60:02}"
    reasoning = f"{total}" + (f",{total - 60}" if total >= 60 else "")
    return Draft(f"{hour:02}:{minute:02} + {shift} min", result, f"{reasoning}#{result}")


def _date(rng: random.Random) -> Draft:
    month, shift = rng.randrange(12), rng.randint(2, 27)
    return date_draft(rng.randint(1, LENGTHS[month]), month, shift)


def date_draft(day: int, month: int, shift: int) -> Draft:
    total, length = day + shift, LENGTHS[month]
    reasoning = f"{total}"
    if total > length:
        reasoning += f",{total - length}"
        total, month_after = total - length, (month + 1) % 12
    else:
        month_after = month
    result = f"{total} {MONTHS[month_after]}"
    return Draft(f"{day} {MONTHS[month]} + {shift} days", result, f"{reasoning}#{result}")


CALENDAR = Family(
    "calendar",
    "units of time, weekdays, clock times, dates",
    _moment,
    words=(*DAYS, *MONTHS, " hours", " min", " weeks", " days", " in"),
)
