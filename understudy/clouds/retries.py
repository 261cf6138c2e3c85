"""When a failed call is made again, and after how long; when none is made for a while."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds

# Of a question that cannot be answered, by an endpoint that works.
REFUSED_QUESTION = frozenset({400, 413, 422})


def is_retried(status: int) -> bool:
    """Timeouts, conflicts, rate limits and faults of the server pass; refusals stay.

    A gateway that lost patience (504, 524) does not say that no answer is being written.
    """
    return status in (408, 409, 429) or (status >= 500 and status not in (504, 524))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the endpoint asks to wait, from `now` as time.time() has it."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    try:
        return max(parsedate_to_datetime(headers["retry-after"]).timestamp() - now, 0.0)
    except (KeyError, ValueError, OverflowError):
        return None


def wait_before(retry: int, after: float | None, random_: random.Random) -> float:
    """Seconds before retry 0, 1, ..: full jitter, on top of what the endpoint asks for."""
    longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(retry, 30))
    return (after or 0.0) + random_.uniform(0.0, longest)


class Circuit:
    """Makes no calls for a while after so many failures in a row; then one, as a probe."""

    def __init__(
        self,
        failures: int,
        pause_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._pause, self._clock = failures, pause_seconds, clock
        self._failures, self._opens_at, self._probing = 0, 0.0, False

    def rest(self) -> float:
        """Seconds for which no call is made, not even one as a probe; 0: one may be now."""
        return max(self._opens_at - self._clock(), 0.0) if self._failures >= self._limit else 0.0

    def pauses(self) -> bool:
        """Whether no call is made now, not even one as a probe."""
        return self.rest() > 0

    def admits(self) -> bool:
        """Whether a call may be made now. One that may must be followed by `note`."""
        if self._probing or self.pauses():
            return False
        self._probing = self._failures >= self._limit
        return True

    def note(self, works: bool | None) -> None:
        """How a call went: the endpoint works, or not, or nobody knows: it was abandoned."""
        self._probing = False
        if works is None:
            return
        self._failures = 0 if works else self._failures + 1
        self._opens_at = self._clock() + self._pause
