"""A judge's share of wrong answers, corrected for the judge's own error: pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from understudy.metrics.evaluation import wilson_interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its interval of 95 %."""

    share: float
    low: float
    high: float

    @property
    def reach(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2

    def times(self, part: float) -> Estimate:
        return Estimate(self.share * part, self.low * part, self.high * part)


@dataclass(frozen=True, slots=True)
class JudgeError:
    """How often a judge erred on labelled answers."""

    wrong: int  # labelled wrong
    found: int  # of these, those that the judge calls wrong
    right: int  # labelled right
    passed: int  # of these, those that the judge calls right

    @property
    def sensitivity(self) -> float:
        return self.found / self.wrong

    @property
    def specificity(self) -> float:
        return self.passed / self.right

    @property
    def youden(self) -> float:
        """0: it may as well throw a coin; 1: it never errs."""
        return self.sensitivity + self.specificity - 1

    def corrected(self, apparent: float) -> float:
        """Rogan and Gladen's share of wrong answers, of an apparent one."""
        return _within((apparent + self.specificity - 1) / self.youden)


def observed(wrong: float, size: float) -> Estimate:
    """Wilson's interval. size: it need not be whole, as that of questions which repeat."""
    if size <= 0:
        return Estimate(0.0, 0.0, 1.0)
    low, high = wilson_interval(min(wrong, size), size)  # type: ignore[arg-type]
    return Estimate(wrong / size, low, high)


def judged(wrong: float, size: float, error: JudgeError, z: float = 1.96) -> Estimate:
    """What `size` answers are wrong to, of which the judge calls `wrong` wrong.

    Rogan and Gladen's estimate, with Lang and Reiczigel's interval (Preventive Veterinary Medicine
    113, 2014): it widens with the uncertainty of the judge's own error.
    """
    if size <= 0:
        return Estimate(0.0, 0.0, 1.0)
    n = size + z**2
    q = (wrong + z**2 / 2) / n
    found, passed = error.wrong + 2, error.right + 2
    se, sp = (error.found + 1) / found, (error.passed + 1) / passed
    youden = se + sp - 1
    p = (q + sp - 1) / youden
    from_se, from_sp = se * (1 - se) / found, sp * (1 - sp) / passed
    centre = p + 2 * z**2 * (p * from_se - (1 - p) * from_sp)
    variance = q * (1 - q) / n + p**2 * from_se + (1 - p) ** 2 * from_sp
    reach = z * math.sqrt(variance) / youden
    share = error.corrected(wrong / size)
    return Estimate(share, min(_within(centre - reach), share), max(_within(centre + reach), share))


def effective_size(counts: list[int]) -> float:
    """How many independent questions so many repeats of each are worth (Kish).

    >>> effective_size([1, 1, 1]), effective_size([3])
    (3.0, 1.0)
    """
    squares = sum(count**2 for count in counts)
    return sum(counts) ** 2 / squares if squares else 0.0


def ratio_reach(parts: list[float], wholes: list[float], z: float = 1.96) -> float:
    """Half of the interval of sum(parts) / sum(wholes), over questions drawn by chance."""
    count, whole = len(wholes), sum(wholes)
    if count < 2 or whole <= 0:
        return 0.0
    ratio = sum(parts) / whole
    squares = sum((part - ratio * own) ** 2 for part, own in zip(parts, wholes, strict=True))
    return z * math.sqrt(squares * count / (count - 1)) / whole


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))
