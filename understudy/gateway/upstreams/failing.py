"""Failed calls of clouds in the log: by name and kind, and not a line for each of thousands."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from understudy.gateway.upstreams.calls import UpstreamError

log = logging.getLogger(__name__)

_EVERY_SECONDS = 60.0
_MOST_KINDS = 1000

# What whoever runs the gateway can do about it; the settings of a cloud stand under clouds.NAME.
ADVICE = {
    401: "its key is refused; check api_key_env or api_key_file",
    402: "its account has no credit left",
    403: "its key may not do this; check the key and model",
    404: "nothing is there; check base_url (up to /v1) and model",
}
_LOUD = (401, 402, 403)  # nothing comes from this cloud until somebody mends it


class Failures:
    """Of all clouds. Each kind of failure is told once a minute, with how many there were since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}
        self._untold: Counter[tuple[str, str]] = Counter()
        self._resting: set[str] = set()

    def failed(self, cloud: str, error: UpstreamError) -> None:
        status = error.status or 0
        advice = f"; {ADVICE[status]}" if status in ADVICE else ""
        level = logging.ERROR if status in _LOUD else logging.WARNING
        kind = f"HTTP {status}" if status else str(error).partition(":")[0]
        self._tell(level, cloud, kind, f"gave no answer: {error}{advice}")

    def broke_off(self, cloud: str, reason: str) -> None:
        """Of an answer that had begun."""
        self._tell(logging.WARNING, cloud, "broke off", f"broke off: {reason}")

    def rests(self, cloud: str, seconds: float, why: str) -> None:
        """No call is made for a while."""
        self._resting.add(cloud)
        self._tell(logging.WARNING, cloud, "rests", f"rests for {seconds:.0f} s: it {why}")

    def answered(self, cloud: str) -> None:
        if cloud in self._resting:
            self._resting.discard(cloud)
            log.info("the cloud %s answers again", cloud)

    def _tell(self, level: int, cloud: str, kind: str, what: str) -> None:
        about, now = (cloud, kind), self._clock()
        told = self._told.get(about)
        if told is not None and now - told < _EVERY_SECONDS:
            self._untold[about] += 1
            return
        if len(self._told) >= _MOST_KINDS:
            self._told.clear()
            self._untold.clear()
        self._told[about] = now
        more = self._untold.pop(about, 0)
        again = f" ({more} more of its kind since it was last told)" if more else ""
        log.log(level, "the cloud %s %s%s", cloud, what, again)
