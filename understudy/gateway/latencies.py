"""How long something usually takes: a quantile of its last times."""

from __future__ import annotations

import math
from collections import deque

_LAST, _FEWEST = 128, 5


class Usual:
    """Of the last 128 times; not known before there are five."""

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._times: deque[float] = deque(maxlen=_LAST)
        self._known: float | None = None

    def note(self, seconds: float) -> None:
        self._times.append(seconds)
        self._known = None

    @property
    def seconds(self) -> float | None:
        if len(self._times) < _FEWEST:
            return None
        if self._known is None:
            self._known = quantile(sorted(self._times), self._quantile)
        return self._known

    def fits(self, seconds: float) -> bool:
        """Whether it usually takes no longer; what is not known yet may."""
        usual = self.seconds
        return seconds > 0 and (usual is None or usual <= seconds)


def quantile(rising: list[float], share: float) -> float:
    """The least value that at least such a share of the values does not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.75)
    3.0
    """
    return rising[max(math.ceil(share * len(rising)) - 1, 0)]
