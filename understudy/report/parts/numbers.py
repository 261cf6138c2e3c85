"""Numbers as a page shows them. Not measured is null in a file, NaN in arrays, a dash on pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from understudy.metrics.measured import FloatArray


def measured(values: Any) -> FloatArray:
    """An array of numbers and nulls, nested or not; NaN for what is null or not finite."""
    found = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def mean(values: Sequence[float | None] | FloatArray) -> float:
    known = measured(values)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else math.nan


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """As JSON has it."""
    found = mean(values)
    return found if math.isfinite(found) else None


def mean_along(values: FloatArray, axis: int | tuple[int, ...]) -> FloatArray:
    """The mean of what was measured; NaN where nothing was."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count, total / np.maximum(count, 1), np.nan))


def last(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else math.nan


def number(value: float | None, digits: int = 2, sign: str = "") -> str:
    """With `sign="+"` a gain is marked as one, and nothing is neither gain nor loss; a dash where
    there is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    shown = f"{value:{sign}z.{digits}f}".replace("-", "−")
    return shown if shown.strip("+0.") else shown.removeprefix("+")


def count(value: float | None) -> str:
    """59,904,000; a dash where there is no number."""
    return "–" if value is None or not math.isfinite(value) else f"{value:z,.0f}"


def dollars(value: float | None) -> str:
    """Cents of a sum of a dollar and more; of less, a hundredth of a cent."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def small(value: float | None) -> str:
    """A figure far below one, with three digits that count."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}".replace("-", "−")


def size(value: float | None) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 999.5:
        return f"{value:.0f}\N{NO-BREAK SPACE}B"
    return f"{_in_thousands(value)}B"


def amount(value: float) -> str:
    """A count in a few letters, as for an axis: 20, 500 k, 1.5 M."""
    return f"{value:g}" if value < 1000 else _in_thousands(value, digits="")


def _in_thousands(value: float, digits: str = "#") -> str:
    """Three digits and a prefix; with `#` zeros at the end are kept."""
    value, prefixes = value / 1000, "kMGT"
    while value >= 999.5 and len(prefixes) > 1:
        value, prefixes = value / 1000, prefixes[1:]
    return f"{value:{digits}.3g}".rstrip(".") + f"\N{NO-BREAK SPACE}{prefixes[0]}"


def lead_words(figures: Mapping[str, tuple[float, float]], best: str) -> str:
    """How sure it is that the best is the best; '' where it is sure, or alone.

    figures: (mean, its standard error) by name; the error is NaN of one seed. Another is as good
    where it is within two standard errors of the difference.
    """
    mean, error = figures[best]
    others = {name: each for name, each in figures.items() if name != best}
    if not others or not math.isfinite(mean):
        return ""
    if not math.isfinite(error):
        return "by one seed: how much is chance is not known"
    near = [
        name
        for name, (other, its_error) in others.items()
        if mean - other <= 2 * math.hypot(error, its_error)
    ]
    more = f" and {len(near) - 1} more" if len(near) > 1 else ""
    return f"not clearly above {near[0]}{more}" if near else ""


def span(values: Sequence[float | None], form: str = "{:.2f}") -> str:
    """One value, or the least and the greatest."""
    known = [value for value in values if value is not None]
    if not known:
        return "an unknown share"
    ends = [form.format(end) for end in (min(known), max(known))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
