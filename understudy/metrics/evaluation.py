"""How sure a number is: over test queries, over seeds, and between two methods."""

from __future__ import annotations

import math

import numpy.typing as npt

from understudy.metrics.measured import measured, measured_rows


def wilson_interval(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval (low, high) for a share of successes among n trials; z=1.96 for 95 %.

    (p + z^2/2n -+ z * sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with p = successes / n. Without
    trials the share may be anything: (0, 1). Expected successes need not be whole.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes={successes} must lie between 0 and n={n}")
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z**2 / (2 * n)
    reach = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    # The ends are exact in the formula, not always in its rounding.
    low = 0.0 if successes == 0 else (centre - reach) / scale
    high = 1.0 if successes == n else (centre + reach) / scale
    return low, high


def mean_and_spread(values: npt.ArrayLike) -> tuple[float, float, int]:
    """(mean, standard deviation divided by n - 1, n) of the measured values, such as one per seed.

    The mean is NaN without values, the deviation with fewer than two.
    """
    known = measured(values)
    mean = float(known.mean()) if known.size else float("nan")
    std = float(known.std(ddof=1)) if known.size > 1 else float("nan")
    return mean, std, int(known.size)


def paired_difference(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[float, float]:
    """(mean of a - b, its standard error std / sqrt(n)), a and b (n,) paired, as by seed.

    A pair with a NaN is left out; the error is NaN with fewer than two pairs.
    """
    first, second = measured_rows(a, b)
    mean, std, n = mean_and_spread(first - second)
    return mean, std / math.sqrt(n) if n else float("nan")
