"""Times counted in buckets that grow by a constant factor, and the quantiles of such counts.

Bucket i holds what lies above GROWTH ** (i - 1) and up to GROWTH ** i seconds, as in Prometheus's
native histograms of schema 2. Counts of the same bucket add, over minutes, replicas and keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

GROWTH = 2**0.25
_LEAST, _MOST = -60, 60  # 30 microseconds, 9 hours; what is outside counts as the nearest


def bucket_of(seconds: float) -> int:
    """
    >>> bucket_of(1.0), bucket_of(1.1), bucket_of(2.0)
    (0, 1, 4)
    """
    exponent = 4 * math.log2(seconds) if seconds > 0 else _LEAST
    return math.ceil(min(max(exponent - 1e-9, _LEAST), _MOST))


def quantiles(counts: Mapping[int, int], shares: Sequence[float]) -> list[float | None]:
    """The values that such shares of the times, rising ones, do not exceed; None: nothing was
    counted.

    Within a bucket times are taken to lie evenly on the scale of logarithms, so that the answer is
    at most a bucket's width (19 %) off.
    """
    total = sum(counts.values())
    if not total:
        return [None] * len(shares)
    found: list[float | None] = []
    below, buckets = 0, iter(sorted(counts.items()))
    bucket, count = next(buckets)
    for share in shares:
        rank = share * total
        while below + count < rank:
            below += count
            bucket, count = next(buckets)
        part = max(rank - below, 0.0) / count if count else 1.0
        found.append(GROWTH ** (bucket - 1 + part))
    return found


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    return quantiles(counts, [share])[0]


def added(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for each in counts:
        for bucket, count in each.items():
            total[bucket] = total.get(bucket, 0) + count
    return total
